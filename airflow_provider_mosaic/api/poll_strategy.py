"""
Poll many runs with the fewest requests: one GET for each run, or pages of the list of running runs.

Nothing here sends or sleeps. What the list costs is learned from each scan: an organization may have many more running
runs than are waited for, and then the pages cost more than they save.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicConnectionError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.running_runs import RunningRow, running_runs

#: Fewer runs are always polled one by one.
MIN_RUNS_FOR_LIST = 4
#: Use the list only if it costs at most this fraction of the single polls, which are more reliable.
_MAX_COST_RATIO = 0.7
#: Seconds after which the estimated cost of an unused list is halved, so that the list is tried again. The estimate
#: expires by time, not by use: thousands of new waits ask many times a second.
_COST_HALF_LIFE = 600.0
#: Pages of the largest estimate.
_MAX_LIST_COST = 1000.0
#: Seconds without the list after an error: the first time, and at most. The list is what relieves a server after an
#: outage.
_FIRST_REST, _MAX_REST = 15.0, 120.0
#: Refusals of the first page in a row after which the list counts as unavailable, and the seconds without it then.
_MAX_REFUSALS, _REST_AFTER_REFUSALS = 2, 3600.0
#: Running runs that a scan keeps in mind. A server may ignore the page limit.
_MAX_SEEN = 200_000
#: Audits in a row that find an ended run after which the list counts as stale, and the least seconds without it then.
_MAX_FAILED_AUDITS, _REST_AFTER_FAILED_AUDITS = 2, 120.0
#: Pages by which a scan is judged.
_RECENT_PAGES = 8
#: Errors that mean that the list is not available with this key or on this server.
_REFUSALS = (MosaicPermissionError, MosaicNotFoundError, MosaicValidationError, MosaicConflictError)


class ListScan:
    """
    One walk through the pages of the running runs, for as long as it saves requests.

    A scan ends with the last page, when all requested runs were shown, when a page or a cursor repeats, when the list
    is too long or lacks rows, or when the pages have cost more than they saved.
    """

    def __init__(self, requested: Iterable[str]) -> None:
        #: The requested runs that no page has shown as running.
        self.missing = set(requested)
        self.requested = len(self.missing)
        #: Pages that were read.
        self.pages = 0
        #: Reads the next page; None at the end of the scan.
        self.next_call: Call[Page[RunningRow]] | None = running_runs()
        #: Whether the scan has read the whole list, or shown all requested runs.
        self.is_complete = False
        #: Whether a page or a cursor came twice, or the list is too long, or lacks rows that it counts.
        self.is_broken = False
        self._seen: set[str] = set()
        self._cursors: set[str] = set()
        self._found_by_page: deque[int] = deque(maxlen=_RECENT_PAGES)

    @property
    def found(self) -> int:
        """How many of the requested runs were shown as running."""
        return self.requested - len(self.missing)

    def add_page(self, page: Page[RunningRow]) -> list[RunningRow]:
        """Record a page. Return its running runs that no earlier page has shown."""
        self.pages += 1
        missing_before, seen_before = len(self.missing), len(self._seen)
        running: list[RunningRow] = []
        for row in page.items:
            if not row.run_id or row.run_id in self._seen:
                continue
            self._seen.add(row.run_id)
            if row.running:
                self.missing.discard(row.run_id)
                running.append(row)
        self._found_by_page.append(missing_before - len(self.missing))
        self.next_call = None
        cursor = page.next_cursor
        if not self.missing:
            self.is_complete = True
        elif cursor is None:
            # After other pages, runs that have started since may be on the first one.
            self.is_broken = not self._cursors and page.total is not None and page.total > len(self._seen)
            self.is_complete = not self.is_broken
        elif cursor in self._cursors or len(self._seen) == seen_before or len(self._seen) > _MAX_SEEN:
            self.is_broken = True
        elif self._saves_requests():
            self._cursors.add(cursor)
            self.next_call = running_runs(cursor)
        return running

    def _saves_requests(self) -> bool:
        return self.pages < len(self.missing) or sum(self._found_by_page) >= len(self._found_by_page)


class PollStrategy:
    """
    Know what the list costs, and whether it can be used.

    All times are by one clock that never goes back.
    """

    def __init__(self) -> None:
        #: Pages of the last scan, or the estimate for a whole one.
        self.pages = 1.0
        self._learned_at = 0.0
        self._unused_until = 0.0
        self._rest = _FIRST_REST
        self._refusals = 0
        self._failed_audits = 0

    def prefers_list(self, runs: int, *, now: float) -> bool:
        """Return whether the list takes fewer requests than polling that many runs one by one."""
        if runs < MIN_RUNS_FOR_LIST or now < self._unused_until:
            return False
        cost = self.pages * math.pow(0.5, (now - self._learned_at) / _COST_HALF_LIFE)
        return cost <= _MAX_COST_RATIO * runs

    def record_scan(self, scan: ListScan, *, now: float) -> None:
        """Learn the cost of the list from a scan that ended without an error."""
        if scan.is_broken:
            # An error of the list, which says nothing about its cost.
            self._avoid_list(self._rest, now=now)
            return
        self._learned_at = now
        self._rest = _FIRST_REST
        self._refusals = 0
        if scan.is_complete:
            self.pages = float(max(1, scan.pages))
        else:
            # The scan stopped early. Assume as many pages for each other run. Finding no run counts as half a run.
            pages_per_run = scan.pages / max(0.5, scan.found)
            self.pages = min(_MAX_LIST_COST, pages_per_run * scan.requested)

    def record_error(self, error: Exception, *, now: float, first_page: bool) -> float:
        """
        Stop using the list for a while, longer each time.

        :param first_page: Whether the first page failed. A later one may be refused because its cursor has expired.
        :returns: For how many seconds.
        """
        # Without a connection, no request for the list was sent.
        refused = isinstance(error, _REFUSALS) and not isinstance(error, MosaicConnectionError)
        self._refusals = self._refusals + 1 if first_page and refused else 0
        rest = _REST_AFTER_REFUSALS if self._refusals >= _MAX_REFUSALS else self._rest
        self._avoid_list(rest, now=now)
        return rest

    def _avoid_list(self, rest: float, *, now: float) -> None:
        self._rest = min(_MAX_REST, self._rest * 2)
        self._unused_until = now + rest

    def record_audit(self, *, had_ended: bool, now: float, cycle: float) -> None:
        """
        Record whether a run had ended that the list had just shown as running.

        One run may have ended in between. If the next audit finds one too, the list is stale.

        :param cycle: Seconds in which each run is polled once. The list is not used for a little longer, so that each
            run is polled by itself once.
        """
        self._failed_audits = self._failed_audits + 1 if had_ended else 0
        if self._failed_audits >= _MAX_FAILED_AUDITS:
            self._failed_audits = 0
            self._unused_until = max(self._unused_until, now + max(_REST_AFTER_FAILED_AUDITS, 1.2 * cycle))
