"""
Decide whether a listed run or post is the one that a lost request created.

Lists lag, and a gateway may answer 504 before Mosaic has carried out the request. One reading of the list proves
nothing, so the search reads the list for two minutes. Nothing here sends or sleeps.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_mosaic.api.arguments import id_key

#: Seconds between the readings of the list: two minutes in all.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
#: Seconds between the readings after the two minutes, while other tasks save the ids of what they have created.
OWNER_GRACE_DELAYS = (2.0, 4.0, 8.0)
#: Seconds after the two minutes. A reading that starts later, because the server is slow, is the last one.
MAX_DELAY = 300.0
#: Seconds between two log lines of a search.
LOG_INTERVAL = 15.0
#: Readings in a row in which the same candidate must be the only free one before it is adopted. Their pauses add up to
#: 15 seconds.
REQUIRED_READINGS = 5


class SearchResult(enum.Enum):
    """The result of the readings so far."""

    FOUND = "found"
    NOTHING = "nothing"
    #: Another reading may decide.
    UNCLEAR = "unclear"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """
    A listed run or post that the request may have created.

    :param started_at: When it was started or created, if the list shows it.
    :param is_partial_match: Whether the list shows a difference from the request that does not rule it out.
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
    What is known of other tasks that start such runs or create such posts.

    :param owned_ids: Ids that they have created.
    :param possible_owners: Tasks that may have created something and have not saved its id; None if that is not known.
    :param waiting: Tasks that wait for their first attempt or a retry, and may have created something before.
    """

    owned_ids: frozenset[str] = frozenset()
    possible_owners: frozenset[str] | None = frozenset()
    waiting: frozenset[str] = frozenset()


class ProgressLog:
    """Log during a long search that the task is still searching."""

    def __init__(self, line: str, now: float) -> None:
        self._line = line
        self._started_at = self._logged_at = now

    def split_pause(self, pause: float) -> list[float]:
        """Split a pause into parts that are not longer than the time between two log lines."""
        whole = int(pause // LOG_INTERVAL)
        rest = pause - whole * LOG_INTERVAL
        return [LOG_INTERVAL] * whole + ([rest] if rest > 0 else [])

    def log_if_due(self, log: Callable[[str], None], now: float) -> None:
        """Log the line if it is due."""
        if now - self._logged_at >= LOG_INTERVAL - 0.5:
            self._logged_at = now
            log(f"{self._line} ({now - self._started_at:.0f} s)")


class Search:
    """
    One search.

    A candidate is *free* if no sibling can own it. A task that had not started when a candidate was first listed can't
    own it. The possible owners of a candidate are therefore the siblings that were possible owners at its first reading
    and still are. Tasks that start during the search do not prolong it.

    This does not hold in a search for the request of an earlier attempt. A sibling may have died together with that
    attempt, and own a candidate although it now only waits for its retry. A candidate is free then only if no sibling
    is a possible owner or waiting.

    :param own_request: Whether this attempt has sent the request.
    """

    def __init__(self, *, own_request: bool) -> None:
        self._own_request = own_request
        self._owned: set[str] = set()
        self._owners_by_id: dict[str, frozenset[str]] = {}
        self._listed_in_time: frozenset[str] | None = None
        #: The tasks that may own the candidate that was judged last; None if that is not known.
        self.possible_owners: frozenset[str] | None = frozenset()
        # The only free candidate of the last reading, and the number of readings in a row with that result.
        self._only_free: str | None = None
        self._readings_in_row = 0

    def add_listing(
        self, candidates: Sequence[Candidate], siblings: Siblings, *, over: bool = False
    ) -> tuple[SearchResult, tuple[Candidate, ...]]:
        """
        Record a reading of the list. The siblings must be read after the list.

        :param over: Whether the two minutes are over. Candidates that appear after the first such reading are ignored.
        :returns: The result, with the candidate that was found, or those that are left.
        """
        self._owned |= siblings.owned_ids
        left = tuple(each for each in candidates if each.id not in self._owned)
        if over:
            if self._listed_in_time is None:
                self._listed_in_time = frozenset(each.id for each in left)
            left = tuple(each for each in left if each.id in self._listed_in_time)
        # A sibling whose id a user wrote may own one in another spelling.
        owned_keys = set(map(id_key, self._owned))
        full_matches = tuple(each for each in left if not each.is_partial_match and id_key(each.id) not in owned_keys)
        free = tuple(each for each in full_matches if self._is_free(each, siblings))
        only_free = free[0].id if len(free) == 1 else None
        self._readings_in_row = self._readings_in_row + 1 if only_free == self._only_free else 1
        self._only_free = only_free
        # Ours may be listed later than the run of another pipeline, which must not be adopted. Within the two minutes,
        # the candidate must therefore be the only free one in several readings.
        is_confirmed = over or self._readings_in_row >= REQUIRED_READINGS
        # A match with possible owners may be ours too.
        if only_free is not None and free == full_matches and is_confirmed:
            return SearchResult.FOUND, free
        if over and not left:
            return SearchResult.NOTHING, ()
        return SearchResult.UNCLEAR, left

    def is_free_beside(self, candidate: Candidate, owned_ids: frozenset[str]) -> bool:
        """Record ids that tasks of other DAG runs own. Return whether the candidate that was found is none of them."""
        self._owned |= owned_ids
        return id_key(candidate.id) not in set(map(id_key, owned_ids))

    def _is_free(self, candidate: Candidate, siblings: Siblings) -> bool:
        """Return whether no sibling can own a candidate."""
        owners = siblings.possible_owners
        if owners is not None and self._own_request:
            owners = self._owners_by_id[candidate.id] = self._owners_by_id.get(candidate.id, owners) & owners
        elif owners is not None:
            owners |= siblings.waiting
        self.possible_owners = owners
        return owners == frozenset()
