"""How long to ask nothing at all, because the server said so to one of many who ask."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError

log = logging.getLogger(__name__)

#: The longest quiet that a ``Retry-After`` brings, in seconds: a server that means an hour says so again, and one that
#: says a month is mistaken.
LONGEST_COOLDOWN = 900.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: A quiet that is shorter is not worth a line: looks are not much closer to each other anyway.
_WORTH_A_LINE = 30.0


def bounded_cooldown(asked: float) -> float:
    """
    Seconds of quiet that are kept, of those that a server asks for.

    :param asked: Seconds.
    """
    return min(asked, LONGEST_COOLDOWN)


class RateLimit:
    """The quiet that a server asks for; shared by all who speak to it with one key."""

    def __init__(self) -> None:
        #: Until when nothing should be asked, by the clock of those who tell.
        self.quiet_until = 0.0
        self._limits = 0

    def record_response(self) -> None:
        """Take in a good answer."""
        self._limits = 0

    def record_error(self, error: MosaicError, *, now: float) -> None:
        """
        Take in a fault; 429 and whatever says when to come back ask for quiet. A long one is told when it begins.

        :param error: The fault.
        :param now: Any clock that only moves on.
        """
        pause = error.retry_after
        if isinstance(error, MosaicRateLimitError):
            if now >= self.quiet_until:
                # Those that were under way already say the same once more.
                self._limits += 1
            # A server that says "0" has rounded, or wants to be asked for ever.
            grown = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(max(0, self._limits - 1), 10))
            pause = max(pause or 0.0, grown)
        if pause is None:
            return
        pause = bounded_cooldown(pause)
        if pause >= _WORTH_A_LINE and self.quiet_until < now + _WORTH_A_LINE:
            until = datetime.now(timezone.utc) + timedelta(seconds=pause)
            log.warning("%s All waits of the connection are quiet until %s.", error, f"{until:%Y-%m-%d %H:%M:%S} UTC")
        self.quiet_until = max(self.quiet_until, now + pause)
