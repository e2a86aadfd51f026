"""Tells of a failed run: what failed, how many rows, where to find them, what to do; by webhook and by e-mail."""

import json
import smtplib
import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from dagster_project.settings import Settings

TIMEOUT_SECONDS = 15
SHOWN = 8


@dataclass(frozen=True)
class Problem:
    """What stopped a run.

    Attributes:
        where: the step, or the table and its check.
        found: what was found and what to do, in sentences.
        rows: rows that broke the rule; None where it judges none.
        look: where these rows are: a folder, or SQL.
    """

    where: str
    found: str
    rows: int | None = None
    look: str | None = None

    def __str__(self) -> str:
        lines = [f"  ✗ {self.where}", *(f"      {line}" for line in self.found.strip().splitlines())]
        if self.rows is not None:
            lines.append(f"      rows: {self.rows:,}")
        if self.look:
            lines.append(f"      where: {self.look}")
        return "\n".join(lines)


def failure_text(settings: Settings, problems: Sequence[Problem], not_made: int) -> str:
    """What failed and what it means for readers, on one screen.

    Args:
        not_made: tables and pages that the run did not make because of it.
    """
    database = settings.published_dir / "learning_warehouse.duckdb"
    kept = f"The published snapshot is as it was: {database}" if database.exists() else "Nothing is published yet."
    lines = ["What failed:", *(str(problem) for problem in problems[:SHOWN])]
    if not problems:
        lines.append("  ✗ the run ended before it could say why; its log does (make ui)")
    if len(problems) > SHOWN:
        lines.append(f"  … and {len(problems) - SHOWN} more (make ui)")
    if not_made:
        lines.append(f"{not_made} tables and pages that come after it were not made.")
    return "\n".join(
        [
            *lines,
            kept,
            f"Refused rows with their reasons: {settings.quarantine_dir}",
            f"All runs: {settings.pages_dir / 'pipeline_status.html'}",
            f"All expectations, with examples: {settings.data_docs_dir / 'index.html'}",
            "Every step with its log, every check with examples: make ui",
        ]
    )


def send_alert(settings: Settings, subject: str, text: str) -> list[str]:
    """Send to every receiver that the settings name; returns what could not be sent, as sentences.

    The webhook gets JSON with `text`, as Slack, Mattermost and Teams take it, and `subject`.
    """
    failed = []
    for receiver, send in (("webhook", _post), ("e-mail", _mail)):
        try:
            send(settings, subject, text)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # Addresses of webhooks hold tokens: they are not repeated.
            failed.append(
                f"The alert could not be sent by {receiver}: {type(error).__name__}. Look at ALERT_… settings"
            )
    return failed


def _post(settings: Settings, subject: str, text: str) -> None:
    if settings.alert_webhook_url is None:
        return
    url = settings.alert_webhook_url.get_secret_value()
    if not url.startswith(("https://", "http://")):
        raise ValueError("a webhook's address begins with https:// or http://")
    body = json.dumps({"text": f"{subject}\n{text}", "subject": subject}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - looked at above
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
        pass


def _mail(settings: Settings, subject: str, text: str) -> None:
    if not settings.alert_smtp_host:
        return
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, settings.alert_email_from, settings.alert_email_to
    message.set_content(text)
    with smtplib.SMTP(settings.alert_smtp_host, settings.alert_smtp_port, timeout=TIMEOUT_SECONDS) as server:
        if settings.alert_smtp_starttls:
            server.starttls(context=ssl.create_default_context())  # else any certificate would do
        if settings.alert_smtp_user and settings.alert_smtp_password:
            server.login(settings.alert_smtp_user, settings.alert_smtp_password.get_secret_value())
        server.send_message(message)
