"""`make ui`: the Dagster UI, its schedules and sensors."""

import argparse
import os
import sys
from pathlib import Path

from dagster_project.settings import REPOSITORY, Settings


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """Becomes Dagster's own process; it returns nothing."""
    host, port = arguments.host, arguments.port
    print(f"Dagster UI: http://{host}:{port} in about half a minute; Ctrl-C stops it", file=sys.stderr)
    command = ["dagster", "dev", "--host", host, "--port", str(port), "--workspace", "workspace.yaml"]
    os.chdir(REPOSITORY)
    os.execv(Path(sys.executable).parent / "dagster", command)  # noqa: S606 - our own environment's command
