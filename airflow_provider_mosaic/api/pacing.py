"""How long to ask nothing at all, because the server said so to one of many who ask."""

from __future__ import annotations

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Pacing:
    """The quiet that a server asks for; shared by all who speak to it with one key."""

    def __init__(self) -> None:
        #: Until when nothing should be asked, by the clock of those who tell.
        self.quiet_until = 0.0
        self._limits = 0

    def answered(self) -> None:
        """Take in a good answer."""
        self._limits = 0

    def failed(self, error: MosaicError, *, now: float) -> None:
        """
        Take in a fault; 429 and whatever says when to come back ask for quiet.

        :param error: The fault.
        :param now: Any clock that only moves on.
        """
        pause = error.retry_after
        if isinstance(error, MosaicRateLimitError):
            if pause is None:
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._limits, 10))
            self._limits += 1
        if pause is not None:
            self.quiet_until = max(self.quiet_until, now + pause)
