"""
How many waits are looked after with the fewest requests: one GET a run, or pages of the runs that are running.

Nothing here sends or waits. What the list costs is learned from it: an organization may have many more running runs
than are waited for, and then the pages cost more than they save.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.running import RunningRow, running_runs
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicConnectionError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.paging import Page

#: Below so many waits there is nothing worth saving.
FEWEST_FOR_LIST = 4
#: The list is taken when it costs at most this part of what single GETs would: they are surer.
_WORTH = 0.7
#: Seconds in which a list that is left alone is thought half as dear: it is tried again some day. Not by how often it
#: was left alone: thousands of waits that begin together ask many times a second whether it is worth it for a few.
_COST_HALF_LIFE = 600.0
_MAX_LIST_COST = 1000.0
#: Seconds for which a list that failed is left alone: at first, and at most. An outage is over some time, and then the
#: list is what spares the server.
_FIRST_REST, _LONGEST_REST = 15.0, 120.0
#: The same for one that was refused so many times in a row.
_REFUSED_REST, _BELIEVED_REFUSALS = 3600.0, 2
#: Seconds for which a list that was found to be old is left alone, or a little more than a cycle: each run is asked
#: for by itself once.
_DOUBT = 120.0
_TRUSTED_MISSES = 2
#: Pages whose yield counts.
_RECENT = 8
#: The list does not work for this key or on this server: a matter for days.
_REFUSALS = (MosaicPermissionError, MosaicNotFoundError, MosaicValidationError, MosaicConflictError)


class ListScan:
    """
    One walk through the pages of the running runs, for as long as that saves requests.

    It ends with the last page, when all runs that are asked for were seen, when a page brings nothing new (a cursor
    that goes in circles), and when the pages so far cost more than they saved and more do not promise better.

    :param wanted: The runs that are asked for.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        #: The runs that are asked for and were not seen running.
        self.missing = set(wanted)
        self.wanted = len(self.missing)
        #: How many pages were read.
        self.pages = 0
        #: The next page to read; None when there is none, or it is not worth it.
        self.next_call: Call[Page[RunningRow]] | None = running_runs()
        #: Whether it has seen the whole list, or all that is asked for: not one that went in circles or did not pay.
        self.whole = False
        #: Whether a page brought nothing new, or a cursor came twice.
        self.circular = False
        self._seen: set[str] = set()
        self._cursors: set[str] = set()
        self._yields: deque[int] = deque(maxlen=_RECENT)

    @property
    def found(self) -> int:
        """How many of the runs that are asked for were seen running."""
        return self.wanted - len(self.missing)

    def add_page(self, page: Page[RunningRow]) -> list[RunningRow]:
        """
        Take in a page, and hand back its rows that show a running run not shown before.

        :param page: The page.
        """
        self.pages += 1
        before = len(self.missing)
        size = len(self._seen)
        running: list[RunningRow] = []
        for row in page.items:
            if not row.run_id or row.run_id in self._seen:
                continue
            self._seen.add(row.run_id)
            if row.running:
                self.missing.discard(row.run_id)
                running.append(row)
        self._yields.append(before - len(self.missing))
        self.next_call = None
        cursor = page.next_cursor
        if cursor is None or not self.missing:
            self.whole = True
        elif cursor in self._cursors or len(self._seen) == size:
            self.circular = True
        elif self._is_worth_it():
            self._cursors.add(cursor)
            self.next_call = running_runs(cursor)
        return running

    def _is_worth_it(self) -> bool:
        return self.pages < len(self.missing) or sum(self._yields) >= len(self._yields)


class PollStrategy:
    """What is known of the list: what it costs, and whether it works at all."""

    def __init__(self) -> None:
        self._cost = 1.0
        self._learned = 0.0
        self._off_until = 0.0
        self._rest = _FIRST_REST
        self._refusals = 0
        self._misses = 0

    @property
    def pages(self) -> float:
        """How many pages a sweep took the last time, or would have taken."""
        return self._cost

    def prefers_list(self, waits: int, *, now: float) -> bool:
        """
        Whether so many waits are looked after with fewer requests by the list.

        :param waits: How many waits want to be looked at.
        :param now: Any clock that only moves on.
        """
        if waits < FEWEST_FOR_LIST or now < self._off_until:
            return False
        thought = self._cost * math.pow(0.5, (now - self._learned) / _COST_HALF_LIFE)
        return thought <= _WORTH * waits

    def record_scan(self, sweep: ListScan, *, now: float) -> None:
        """
        Learn from a sweep what the list costs.

        :param sweep: One that has ended without a fault.
        :param now: Any clock that only moves on.
        """
        if sweep.circular:
            # That is a fault of the list, and says nothing of its cost.
            self._avoid_list(self._rest, now=now)
            return
        self._learned = now
        self._rest = _FIRST_REST
        self._refusals = 0
        if sweep.whole:
            self._cost = float(max(1, sweep.pages))
        else:
            self._cost = min(_MAX_LIST_COST, sweep.pages * sweep.wanted / max(0.5, sweep.found))

    def record_error(self, error: Exception, *, now: float, first_page: bool) -> float:
        """
        Leave the list alone for a while, longer each time.

        :param error: What came instead of a page.
        :param now: Any clock that only moves on.
        :param first_page: Whether it was the first; a later one may be refused for its cursor, which grows old.
        :returns: For how many seconds.
        """
        # Without a connection the list was not even asked for.
        refused = isinstance(error, _REFUSALS) and not isinstance(error, MosaicConnectionError)
        self._refusals = self._refusals + 1 if first_page and refused else 0
        rest = _REFUSED_REST if self._refusals >= _BELIEVED_REFUSALS else self._rest
        self._avoid_list(rest, now=now)
        return rest

    def _avoid_list(self, rest: float, *, now: float) -> None:
        self._rest = min(_LONGEST_REST, self._rest * 2)
        self._off_until = now + rest

    def record_audit(self, *, had_ended: bool, now: float, cycle: float) -> None:
        """
        Take in what the GET of a run showed that the list had just shown as running.

        One that has ended may have done so in between; a second one in a row says that the list is old.

        :param had_ended: Whether it had ended.
        :param now: Any clock that only moves on.
        :param cycle: The seconds in which each run is looked at once.
        """
        self._misses = self._misses + 1 if had_ended else 0
        if self._misses >= _TRUSTED_MISSES:
            self._misses = 0
            self._off_until = max(self._off_until, now + max(_DOUBT, 1.2 * cycle))
