"""
The search for the effect of a request whose answer was lost: look after look in the lists, and what they come to.

Lists lag, and a gateway's 504 may come before the effect: one look proves nothing, so the looks go on for two minutes.
Nothing here reads a list or waits.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

#: Seconds between the looks; together two minutes.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
#: Seconds between the looks after that, in which only the owners of what was there by then are waited for.
OWNER_GRACE_DELAYS = (2.0, 4.0, 8.0)
#: Seconds between two lines that say that a search goes on.
LOG_INTERVAL = 15.0
#: Looks in a row that must show the same one before it is taken; with their pauses a quarter of a minute.
REQUIRED_SIGHTINGS = 5


class SearchResult(enum.Enum):
    """What the looks came to."""

    FOUND = "found"
    NOTHING = "nothing"
    UNCLEAR = "unclear"
    SEARCH_AGAIN = "look again"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """
    Something in a list that may be what was asked for.

    :param id: The run or post.
    :param status: Its status.
    :param began: When it was started or made, if the list says.
    :param doubtful: Whether something in its row differs from what was asked for, yet it may be it.
    """

    id: str
    status: str
    started_at: datetime | None = None
    is_partial_match: bool = False

    def __str__(self) -> str:
        since = f", since {self.started_at:%Y-%m-%d %H:%M:%S} UTC" if self.started_at else ""
        return f"{self.id} ({self.status}{since}{', but it differs' if self.is_partial_match else ''})"


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """
    What is known of other tasks that begin such things.

    :param owned: Ids that they have begun.
    :param unsettled: Those that may have begun something without having said its id yet; None when it is not known. One
        that has surely begun nothing is not among them.
    :param waiting: Those that wait for their turn, be it their first or a retry's, and may have begun something before.
    """

    owned_ids: frozenset[str] = frozenset()
    possible_owners: frozenset[str] | None = frozenset()
    waiting: frozenset[str] = frozenset()


class ProgressLog:
    """
    The lines of a search that takes long: the person who reads the log must not take it for a task that hangs.

    :param line: What to log every quarter of a minute.
    :param now: When the search began, in seconds since the epoch.
    """

    def __init__(self, line: str, now: float) -> None:
        self._line = line
        self._began = self._said = now

    def split_pause(self, pause: float) -> list[float]:
        """
        Return the parts of a pause, none longer than the time between two lines.

        :param pause: Seconds.
        """
        whole = int(pause // LOG_INTERVAL)
        rest = pause - whole * LOG_INTERVAL
        return [LOG_INTERVAL] * whole + ([rest] if rest > 0 else [])

    def log_if_due(self, log: Callable[[str], None], now: float) -> None:
        """
        Log the line if it is due.

        :param log: Gets the line.
        :param now: Seconds since the epoch.
        """
        if now - self._said >= LOG_INTERVAL - 0.5:
            self._said = now
            log(f"{self._line} ({now - self._began:.0f} s)")


class Search:
    """
    One search.

    Whoever had not begun when a candidate was first seen can't own it. So a candidate is suspected of those siblings
    only that were unsettled then and are so still; in a DAG run that goes on starting others it becomes clear as well.

    That does not hold for what an earlier try has left: siblings may have died together with it, and own what is there
    although they only wait for their retry. Then nobody may be unsettled or waiting.

    :param own_request: Whether it was this try that has sent the request.
    """

    def __init__(self, *, own_request: bool) -> None:
        self._own_request = own_request
        self._owned: set[str] = set()
        self._suspects: dict[str, frozenset[str]] = {}
        self._shown: frozenset[str] = frozenset()
        self._there: frozenset[str] | None = None
        self._alone: list[str] = []

    def add_listing(
        self, candidates: Sequence[Candidate], siblings: Siblings, *, over: bool = False, last: bool = False
    ) -> tuple[SearchResult, tuple[Candidate, ...]]:
        """
        Take in a look; the siblings must have been read after the list.

        :param candidates: What fits, from the list.
        :param siblings: What other tasks have begun and may have begun.
        :param over: Whether the two minutes are over. What is shown later than the first such look is not it.
        :param last: Whether there is no further look.
        :returns: What it comes to, with the one that was found, or those that are left.
        """
        self._owned |= siblings.owned_ids
        left = tuple(each for each in candidates if each.id not in self._owned)
        if over:
            self._there = frozenset(each.id for each in left) if self._there is None else self._there
            left = tuple(each for each in left if each.id in self._there)
        plain = tuple(each for each in left if not each.is_partial_match)
        free = tuple(each for each in plain if self._is_free(each, siblings))
        # A suspected one that was there before may be ours all the same; what has just appeared has begun later.
        lingering = any(each.id in self._shown for each in plain if each not in free)
        self._shown = frozenset(each.id for each in left)
        same = len(free) == 1 and self._alone[-1:] in ([], [free[0].id])
        self._alone = [*self._alone, free[0].id] if same else []
        if len(free) == 1:
            # Ours may be shown later than another pipeline's, which would be taken for it.
            surely = free == plain if over else len(self._alone) >= REQUIRED_SIGHTINGS and not lingering
            if surely:
                return SearchResult.FOUND, free
        if over and not left:
            return SearchResult.NOTHING, ()
        return (SearchResult.UNCLEAR if last else SearchResult.SEARCH_AGAIN), left

    def _is_free(self, candidate: Candidate, siblings: Siblings) -> bool:
        """Whether no sibling can own it."""
        unsettled = siblings.possible_owners
        if unsettled is None:
            return False
        if not self._own_request:
            return not unsettled and not siblings.waiting
        self._suspects[candidate.id] = self._suspects.get(candidate.id, unsettled) & unsettled
        return not self._suspects[candidate.id]
