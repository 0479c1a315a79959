"""The server's clock and the format of its times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

from mosaic_emulator.settings import Settings

TWO_HOURS_EAST = timezone(timedelta(hours=2))


class Clock:
    """The server's clock, according to the settings ``clock_skew`` and ``timestamps``."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings

    def now(self) -> datetime:
        """Return the server's current time in UTC."""
        return datetime.now(timezone.utc) + timedelta(seconds=self._settings.clock_skew)

    def text(self, moment: datetime) -> str:
        """Format a time for a response."""
        style = self._settings.timestamps
        if style == "seconds":
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        if style == "milliseconds":
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if style == "microseconds":
            return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        return moment.astimezone(TWO_HOURS_EAST).isoformat(timespec="microseconds")

    def optional(self, moment: datetime | None) -> str | None:
        """Format a time that may be missing."""
        return None if moment is None else self.text(moment)

    def http_date(self) -> str:
        """Return the ``Date`` header."""
        return format_datetime(self.now(), usegmt=True)


def parse_time(text: str) -> datetime:
    """
    Parse an ISO 8601 time. Without an offset it is UTC.

    :raises ValueError: If the text is not a time.
    """
    cleaned = text.strip()
    # fromisoformat parses "Z" since Python 3.11.
    if cleaned[-1:] in ("Z", "z"):
        cleaned = cleaned[:-1] + "+00:00"
    # An unescaped "+" in a query arrives as a space.
    if len(cleaned) > 6 and cleaned[-6] == " " and cleaned[-3] == ":":
        cleaned = cleaned[:-6] + "+" + cleaned[-5:]
    whole, dot, rest = cleaned.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        cleaned = f"{whole}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    moment = datetime.fromisoformat(cleaned)
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
