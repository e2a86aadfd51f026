"""`make ui`: the Dagster UI, its schedules and sensors."""

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from dagster_project.base.errors import WarehouseError
from dagster_project.commands.interruption import leave_signals
from dagster_project.settings import REPOSITORY, Settings

OFFERED_PORTS = 50
"""Ports above the one asked for among which a free one is looked for."""


class PortError(WarehouseError):
    """The address at which the UI is to be reached cannot be used."""


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """Becomes Dagster's own process; it returns nothing.

    Raises:
        PortError: the port is taken, or the address is not this machine's.
    """
    host, port = arguments.host, arguments.port
    check_port(host, port)
    print(f"Dagster UI: http://{host}:{port} in about half a minute; Ctrl-C stops it", file=sys.stderr)
    command = ["dagster", "dev", "--host", host, "--port", str(port), "--workspace", "workspace.yaml"]
    os.chdir(REPOSITORY)
    leave_signals()
    os.execv(Path(sys.executable).parent / "dagster", command)  # noqa: S606 - our own environment's command


def check_port(host: str, port: int) -> None:
    """See that the UI can listen there.

    Raises:
        PortError: it cannot; says who holds the port, as far as that can be seen, and offers another one.
    """
    fault = _fault(host, port)
    if fault is None:
        return
    if fault.errno == errno.EADDRINUSE:
        free = next(
            (other for other in range(port + 1, min(port + OFFERED_PORTS, 65536)) if not _fault(host, other)), 0
        )
        raise PortError(
            f"Port {port} of {host} is taken{_holder(port)}. Stop that, or take another port: "
            f"make ui PORT={free or 'number'}"
        )
    if fault.errno == errno.EACCES:
        raise PortError(
            f"Port {port} of {host} may not be opened by this user: those below 1024 are the system's. Take another: "
            "make ui PORT=3000"
        )
    raise PortError(
        f"The UI cannot be reached at {host}, port {port} ({fault.strerror or fault}): expected an address of this "
        "machine. Leave HOST out to reach it from this machine alone: make ui"
    )


def _fault(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a port that was let go a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _holder(port: int) -> str:
    """Who listens at a port, where this user may see it."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f" by process {connection.pid} ({' '.join(process.cmdline())[:100] or process.name()})"
    except psutil.Error:
        return ""  # another user's: macOS tells it to nobody but the superuser
    return ""
