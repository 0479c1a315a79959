"""Keep the cooldown that a server asks for with 429 or ``Retry-After``, shared by all requests of a connection."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError

log = logging.getLogger(__name__)

#: Longest cooldown in seconds. A server that needs more asks again; one that asks for a month is mistaken.
MAX_COOLDOWN = 900.0
#: Cooldowns after a 429 that does not ask for one: the first, and the longest.
_FIRST_OWN_COOLDOWN, _MAX_OWN_COOLDOWN = 1.0, 60.0
#: Seconds from which a cooldown is logged.
_MIN_LOGGED = 30.0


def bounded_cooldown(seconds: float) -> float:
    """Return the cooldown to keep when a server asks for one."""
    return min(seconds, MAX_COOLDOWN)


class RateLimit:
    """The cooldown of all requests that use one key."""

    def __init__(self) -> None:
        #: When requests may be sent again, by the clock of the callers.
        self.cooldown_until = 0.0
        #: Responses with 429 in a row, without those that came during a cooldown.
        self._rate_limits = 0

    def record_success(self) -> None:
        """Record that a request succeeded: the next 429 starts with the shortest cooldown again."""
        self._rate_limits = 0

    def record_error(self, error: MosaicError, *, now: float) -> None:
        """Record a failed request. Start a cooldown if it asks for one."""
        cooldown = error.retry_after
        if isinstance(error, MosaicRateLimitError):
            if now >= self.cooldown_until:
                # During a cooldown, the requests that were running already are rate limited for the same reason.
                self._rate_limits += 1
            # A server may round its pause down to "Retry-After: 0". Without a least cooldown, the next request would
            # follow at once.
            grown = min(_MAX_OWN_COOLDOWN, _FIRST_OWN_COOLDOWN * 2.0 ** min(max(0, self._rate_limits - 1), 10))
            cooldown = max(cooldown or 0.0, grown)
        if cooldown is None:
            return
        cooldown = bounded_cooldown(cooldown)
        if cooldown >= _MIN_LOGGED and self.cooldown_until < now + _MIN_LOGGED:
            until = datetime.now(timezone.utc) + timedelta(seconds=cooldown)
            log.warning("%s All waits of the connection pause until %s.", error, f"{until:%Y-%m-%d %H:%M:%S} UTC")
        self.cooldown_until = max(self.cooldown_until, now + cooldown)
