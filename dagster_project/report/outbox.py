"""Alerts on their way: on the disk before they are sent, and until every address of the settings has accepted them.

So is word of what changed in the call list, which has addresses of its own. A waiting alert is a file `<run>.json` of
`settings.alerts_dir`, which its owner only may read: the message, and who has accepted it, by keyed hashes. No address
stands there. Sent they are by Apprise, each address by itself.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from dagster_project.base import clock
from dagster_project.base.files import replaced
from dagster_project.settings import PREFIX, REPOSITORY, Settings

FAILURES, CALL_LIST = "alert_addresses", "call_list_webhook"
KEPT_FOR = timedelta(days=7)
MOST_WAITING = 100
SEND_SECONDS = 20  # for one message to one address
FAILURES_IN_A_ROW = 2  # of one address, after which the rest waits: one refused message does not hold up the others
LOCK_SECONDS = 60
POLL_SECONDS = 0.1


@dataclass
class Alert:
    """A message that waits.

    Attributes:
        run_id: the run that it is about; there is one alert a run. Of the call list, what has changed, as a hash.
        written_at: UTC, ISO 8601.
        key: of the keyed hashes, other ones for every alert.
        accepted: keyed hashes of the addresses that have accepted it.
        setting: name of the setting with the addresses that are told.
    """

    run_id: str
    subject: str
    text: str
    written_at: str = field(default_factory=lambda: clock.now().isoformat(timespec="seconds"))
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    accepted: list[str] = field(default_factory=list)
    setting: str = FAILURES

    def __post_init__(self) -> None:
        if self.setting not in (FAILURES, CALL_LIST):
            raise ValueError(f"{self.setting!r} is no setting of addresses: {FAILURES} or {CALL_LIST}")

    def hash_of(self, address: str) -> str:
        """Keyed hash of an address, 32 hexadecimal digits: the outbox holds none in clear."""
        return hashlib.blake2b(address.encode(), key=bytes.fromhex(self.key), digest_size=16).hexdigest()


class OutboxBusyError(OSError):
    """Another process holds a lock of the outbox for longer than one that works would."""


@contextmanager
def writing_alerts(settings: Settings) -> Generator[None]:
    """The right to add an alert: whoever asks within it whether a run has one, gets no other answer a moment later.

    Raises:
        OutboxBusyError: another process keeps it.
        OSError: the disk is full or the folder is closed.
    """
    with _locked(_folder(settings) / "writing.lock"):
        yield


def keep(settings: Settings, alert: Alert) -> None:
    """Write an alert to the disk; once this returns it outlives the machine's power.

    Raises:
        OSError: the disk is full or the folder is closed.
    """
    path = _folder(settings) / f"{alert.run_id}.json"
    with replaced(path, mode=0o600, synced=True) as incoming:
        incoming.write_text(json.dumps(asdict(alert), indent=1))


def send_waiting(settings: Settings) -> list[str]:
    """Send every alert that waits to every address that has not accepted it; returns what is to be told, as sentences.

    An alert is gone when all addresses of the settings have accepted it. It is given up after a week, or when a hundred
    newer ones wait, and that is told. Two processes do not send the same alert. No sentence holds an address.
    """
    if not any(settings.alerts_dir.glob("*.json")):
        return []
    try:
        with _locked(_folder(settings) / "sending.lock"):
            alerts, told = _waiting(settings)
            return told + _send(settings, alerts, is_kept=True)
    except OSError as error:
        return [
            f"The alerts in {settings.alerts_dir} could not be sent: {error.strerror or error}. They are tried again"
        ]


def send_unkept(settings: Settings, alert: Alert) -> list[str]:
    """Send an alert that could not be written to the disk; what is to be told, as sentences."""
    return _send(settings, [alert], is_kept=False)


def _folder(settings: Settings) -> Path:
    folder = settings.alerts_dir
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """The kernel frees the lock when the process dies, so the file stays."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OutboxBusyError(f"another process has held {path} for {LOCK_SECONDS} s") from None
                time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _waiting(settings: Settings) -> tuple[list[Alert], list[str]]:
    """The alerts that are to be sent, oldest first, and what is to be told of the others."""
    alerts, told = [], []
    for path in settings.alerts_dir.glob("*.json"):
        try:
            alert = Alert(**json.loads(path.read_text()))
            datetime.fromisoformat(alert.written_at)
            alerts.append(alert)
        except (ValueError, TypeError):
            damaged = path.with_suffix(".damaged")
            path.replace(damaged)
            told.append(f"An alert that waited cannot be read and is not sent. Look at it, and remove it: {damaged}")
    alerts.sort(key=lambda alert: alert.written_at)
    oldest = clock.now() - KEPT_FOR
    given_up = [
        alert
        for place, alert in enumerate(alerts)
        if datetime.fromisoformat(alert.written_at) < oldest or len(alerts) - place > MOST_WAITING
    ]
    for alert in given_up:
        (settings.alerts_dir / f"{alert.run_id}.json").unlink()
    if given_up:
        runs = ", ".join(alert.run_id[:8] if alert.setting == FAILURES else alert.subject for alert in given_up)
        told.append(
            f"{_count(len(given_up))} given up, because not every address accepted them within {KEPT_FOR.days} days or "
            f"more than {MOST_WAITING} waited. About the runs: {runs} (make ui)"
        )
    return [alert for alert in alerts if alert not in given_up], told


def _send(settings: Settings, alerts: Sequence[Alert], *, is_kept: bool) -> list[str]:
    return [
        told
        for setting in dict.fromkeys(alert.setting for alert in alerts)
        for told in _send_by(settings, setting, [alert for alert in alerts if alert.setting == setting], is_kept)
    ]


def _send_by(settings: Settings, setting: str, alerts: Sequence[Alert], is_kept: bool) -> list[str]:
    """Every address by a thread of its own, so that one whose server hangs does not keep the others from being told."""
    addresses = [address.get_secret_value() for address in getattr(settings, setting)]
    if not addresses:
        return []
    noting = threading.Lock()

    def note(alert: Alert, address: str) -> None:
        with noting:
            alert.accepted.append(alert.hash_of(address))
            if not is_kept:
                return
            if all(alert.hash_of(one) in alert.accepted for one in addresses):
                (settings.alerts_dir / f"{alert.run_id}.json").unlink()
            else:
                keep(settings, alert)

    def send_to(numbered: tuple[int, str]) -> str | None:
        number, address = numbered
        failed, reason, in_a_row = 0, "", 0
        for alert in alerts:
            if alert.hash_of(address) in alert.accepted:
                continue
            if in_a_row < FAILURES_IN_A_ROW:
                why = _why_not_accepted(address, alert)
                if why is None:
                    note(alert, address)
                    in_a_row = 0
                    continue
                reason, in_a_row = why, in_a_row + 1
            failed += 1
        if not failed:
            return None
        fate = (
            f"What waits in {settings.alerts_dir} is sent after the next run, and every few minutes while make ui "
            f"runs; it is given up after {KEPT_FOR.days} days"
            if is_kept
            else "The disk did not take it, so it is not sent again"
        )
        return (
            f"{_count(failed)} not accepted by address {number} of {PREFIX}{setting.upper()} "
            f"({schema_of(address)}): {reason}. {fate}. More on it: "
            f"{REPOSITORY / '.venv/bin/apprise'} -vv -b test '<the address>'"
        )

    with ThreadPoolExecutor(len(addresses), thread_name_prefix="alerts") as pool:
        return [told for told in pool.map(send_to, enumerate(addresses, start=1)) if told]


def schema_of(address: str) -> str:
    """What stands before :// of an address: the one part of it that holds no secret."""
    return address.partition("://")[0]


def _count(alerts: int) -> str:
    return "An alert was" if alerts == 1 else f"{alerts} alerts were"


def _why_not_accepted(address: str, alert: Alert) -> str | None:
    """Send one message to one address; None when it was accepted.

    Apprise says only whether it was. Why not, it logs in words that may repeat a part of the address or what the server
    answered: of them only an HTTP status is passed on.
    """
    import apprise

    logging.getLogger("apprise").propagate = False
    server = apprise.Apprise.instantiate(address)
    if server is None:  # the settings have looked at it: a plugin that went away with another version
        return "Apprise does not know such an address"
    if server.overflow_mode == apprise.OverflowMode.UPSTREAM:
        # A text that is longer than the service takes comes in parts rather than never.
        server.overflow_mode = apprise.OverflowMode.SPLIT
    sender = apprise.Apprise()
    sender.add(server)
    result = sender.notify(
        title=alert.subject,
        body=alert.text,
        notify_type=apprise.NotifyType.FAILURE if alert.setting == FAILURES else apprise.NotifyType.INFO,
        body_format=apprise.NotifyFormat.TEXT,
        timeout=SEND_SECONDS,
    )
    if result:
        return None
    words = " ".join(entry.message for entry in result.logs())
    if status := re.search(r"\berror=(\d{3})\b", words):
        return f"its server answered with HTTP status {status[1]}"
    return "its server could not be reached, or did not take the message"
