"""
One effect, once: over lost answers, kills and retries.

A request with effects goes out only after its intent was noted. When its outcome is unknown, or an earlier try died
before it noted an id, the lists are looked at until it is clear; what can't be cleared up is left to a person.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicTimeoutError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.search import (
    OWNER_GRACE_DELAYS,
    PAUSES,
    Candidate,
    ProgressLog,
    Search,
    SearchResult,
    Siblings,
)
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines
from airflow_provider_mosaic.durable.task_state import ExistingItems, StartRecord, TaskState

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CreateOnce:
    """
    The way to begin one thing once.

    :param what: What is begun, for example ``a run of agent 'x'``.
    :param memory: What the task remembers.
    :param begin: Sends the request and returns the id.
    :param present: What is there before the request, of the same window that ``candidates`` reads for a record
        that began then; None when they can't be known.
    :param candidates: What may be the effect of a request, from the lists.
    :param siblings: What other tasks have begun; it is told whether those that wait for their turn matter.
    :param adopt: Whether the one candidate that is left is taken; otherwise it is reported to a person.
    :param timeout: Seconds from the intent until waiting stops; kept in the record.
    :param advice: Where a person can look when it can't be cleared up.
    :param allow: Raises if it should not be begun now; it is asked before anything is noted or sent.
    :param stands: Return whether to continue with what an earlier try started. If not, it is started again.
    :param new_clock: Whether what is begun again has all of its time; otherwise the first try's clock goes on.
    :param cleared: Called with the id of what was started before a user's clear, before it is started again.
    :param tell: Is told the id as soon as it is known, be it an earlier try's, and whatever then becomes of this one.
    :param may_be: Reads what a person has named for it, and raises if that is not there or can't be it.
    """

    description: str
    memory: TaskState
    send: Callable[[], str]
    snapshot_existing: Callable[[float], ExistingItems | None]
    find_candidates: Callable[[StartRecord], list[Candidate]]
    siblings: Callable[[bool], Siblings]
    adopt: bool
    timeout: float | None
    advice: str
    check_before_start: Callable[[], None] = lambda: None
    can_continue: Callable[[StartRecord], bool] = lambda record: True
    restart_deadline: bool = False
    on_cleared: Callable[[str], None] = lambda id: None
    on_started: Callable[[str], None] = lambda id: None
    validate_adopted: Callable[[str], object] = lambda id: None

    def ensure(self) -> StartRecord:
        """
        Begin it, or go on with what an earlier try of the same order has begun or may have begun, or with what a
        person has named.

        :returns: The record, with the id.
        :raises MosaicAmbiguousOutcomeError: It is unknown whether it was begun.
        :raises MosaicError: It was not begun.
        """
        with self.memory.publishing_not_started():
            return self._ensure()

    def _ensure(self) -> StartRecord:
        record = self.memory.load()
        cleared_id = self.memory.cleared_id
        if record is None or record.id is None:
            record = self.adopted(record) or record
        self.memory.record_failure_reason()
        if cleared_id is not None and (record is None or record.id != cleared_id):
            self.on_cleared(cleared_id)
        if record is None:
            return self.start()
        if record.id is None:
            return self.resume_search(record)
        # Airflow has taken back what the earlier try has said.
        self.on_started(record.id)
        if self.can_continue(record):
            return record
        return self.start(deadline=None if self.restart_deadline else record.deadline)

    def adopted(self, record: StartRecord | None) -> StartRecord | None:
        """
        Return what a user has named for it, saved as if an earlier try had started it.

        :param record: What an earlier try left, without an id.
        :returns: The record, with the id; None if nobody has named anything.
        :raises MosaicValidationError: What is named can't be it.
        """
        named = self.memory.adopted_id()
        if named is None:
            return None
        try:
            self.validate_adopted(named)
        except MosaicConnectionError:
            # It was not read, so nothing is known to be wrong with what is named.
            raise
        except (MosaicNotFoundError, MosaicValidationError) as error:
            raise self.memory.decisions.refusal(f"it names {named!r}. {error}") from error
        if record is None or not record.is_saved:
            now = time.time()
            record = StartRecord(started_at=now, deadline=None if self.timeout is None else now + self.timeout)
        log.warning(
            "By the Airflow Variable %r, %r is %s: going on with it.",
            self.memory.decisions.variable,
            named,
            self.description,
        )
        self.memory.clear_failure_reason()
        record = replace(record, id=named)
        self.memory.save_adopted(record)
        return record

    def start(self, *, deadline: float | None = None) -> StartRecord:
        """
        Begin it.

        :param deadline: When waiting stops, if an earlier try of the same order has set that already.
        :returns: The record, with the id.
        :raises MosaicAmbiguousOutcomeError: It is unknown whether it was begun.
        :raises MosaicError: It was not begun.
        """
        if deadline is None and self.timeout is not None:
            deadline = time.time() + self.timeout
        return self._begin(deadline=deadline)

    def resume_search(self, record: StartRecord) -> StartRecord:
        """
        Resume after an earlier try that saved its intent and no id: search first, and start it only if it is not there.

        :param record: What the earlier try left.
        :returns: The record, with the id.
        """
        log.info("An earlier try may have begun %s and left no id: looking for it.", self.description)
        # The request may have been on its way when the earlier try died, which can have been a moment ago.
        found = self._search(record, lost=None)
        if found is not None:
            return found
        log.info("The earlier try did not begin %s: beginning it now.", self.description)
        return self._begin(deadline=record.deadline) if record.is_saved else self.start()

    def _begin(self, *, deadline: float | None) -> StartRecord:
        began = time.time()
        if deadline is not None and began >= deadline:
            # The clock began with the first try: what is begun now would only be given up, and paid.
            raise fail_exception(
                MosaicTimeoutError(
                    f"The time given for {self.description} is over: it is not begun again.",
                    means="Nothing was started or published by this try.",
                )
            )
        self.check_before_start()
        before = self.snapshot_existing(began)
        record = StartRecord(
            started_at=began,
            deadline=deadline,
            existing_ids=None if before is None else before.ids,
            existing_until=None if before is None else before.until,
        )
        self.memory.intend(record)
        return self._send(record)

    def _send(self, record: StartRecord, *, again: bool = False) -> StartRecord:
        try:
            begun = replace(record, id=self.send())
        except MosaicAmbiguousOutcomeError as lost:
            log_lines((*lost.lines, "Looking for it, for up to two minutes."), level=logging.WARNING)
            found = self._search(record, lost=lost)
            if found is not None:
                return found
            if lost.candidates:
                # The answer names an id: what it names may be there although no list shows it yet.
                named = tuple(Candidate(id=id, status="not listed") for id in lost.candidates)
                raise self._unclear(named, lost) from lost
            if again:
                # It was not done, twice: what came back says why.
                raise self._not_done(lost) from None
            log.warning("There is no sign of %s: sending the request once more.", self.description)
            return self._send(record, again=True)
        except MosaicError:
            # Any other end is a plain no: there is nothing that a retry would have to look for.
            self.memory.clear(surely=not again)
            raise
        except BaseException:
            # Airflow ends a try like that when its execution_timeout is over.
            log.warning(
                "This try was ended while the request was on its way. Whether it was done is unknown: %s. The next "
                "try, if there is one, looks before it sends anything. %s",
                self.description,
                self.advice,
            )
            raise
        return self._save_started(begun)

    def _save_started(self, record: StartRecord) -> StartRecord:
        self.memory.save_best_effort(record)
        self.on_started(str(record.id))
        return record

    def _search(self, record: StartRecord, *, lost: MosaicAmbiguousOutcomeError | None) -> StartRecord | None:
        """
        Look for it, again and again for two minutes from now on.

        :returns: The record with the id; None when it is surely not there.
        """
        search = Search(own_request=lost is not None)
        until = time.time() + sum(PAUSES)
        pauses, settling = iter(PAUSES), iter(OWNER_GRACE_DELAYS)
        patience = ProgressLog(f"Still looking for {self.description}; nothing is sent meanwhile.", time.time())
        while True:
            left = until - time.time()
            over = left <= 0.5
            pause = next(settling, None) if over else min(next(pauses, left), left)
            finding, candidates = self._search_once(search, record, over=over, last=pause is None, lost=lost)
            if finding is SearchResult.NOTHING:
                return None
            # Where nothing was noted, or what was there before is not known, it may as well be another pipeline's.
            if finding is SearchResult.FOUND and self.adopt and record.is_saved and record.existing_ids is not None:
                found = replace(record, id=candidates[0].id)
                log.warning("Found %s: %s. Going on with it.", self.description, candidates[0])
                return self._save_started(found)
            if finding is not SearchResult.SEARCH_AGAIN or pause is None:
                raise self._unclear(candidates, lost) from lost
            for piece in patience.split_pause(pause):
                time.sleep(piece)
                patience.log_if_due(log.info, time.time())

    def _search_once(
        self, search: Search, record: StartRecord, *, over: bool, last: bool, lost: MosaicAmbiguousOutcomeError | None
    ) -> tuple[SearchResult, tuple[Candidate, ...]]:
        try:
            candidates = self.find_candidates(record)
        except MosaicError as error:
            # Also what looks permanent: a person is asked only when nothing else is left.
            if not last:
                log.warning("Could not look for %s: %s", self.description, error)
                return SearchResult.SEARCH_AGAIN, ()
            raise self._unclear((), lost, f"The lists could not be read: {error}") from error
        # Those that wait matter only where an earlier try has sent the request: see the search.
        siblings = self.siblings(lost is None) if candidates else Siblings()
        return search.add_listing(candidates, siblings, over=over, last=last)

    def _not_done(self, lost: MosaicAmbiguousOutcomeError) -> MosaicError:
        """What came back last, for a request that went out twice and was not carried out."""
        why = lost.__cause__ if isinstance(lost.__cause__, MosaicError) else lost
        means = f"The request was sent twice, and the lists do not show {self.description}: nothing was created."
        why.set_consequences(means=means, to_do=why.to_do)
        return why

    def _unclear(
        self, candidates: tuple[Candidate, ...], lost: MosaicAmbiguousOutcomeError | None, why: str = ""
    ) -> MosaicAmbiguousOutcomeError:
        ids = [candidate.id for candidate in candidates]
        cause = f"What came back: {lost.__cause__ or lost}" if lost else "An earlier try died in the middle of it."
        listed = [f"  {candidate}" for candidate in candidates[:10]] or ["  none that could be told apart"]
        return MosaicAmbiguousOutcomeError(
            f"Whether this was begun is unknown: {self.description}. {cause}{f' {why}' if why else ''}",
            means="Nothing was sent again, so nothing was paid or published twice.",
            to_do=(self.advice, *self.memory.decisions.adopt_hint(ids)),
            items=[] if why else ["Candidates:", *listed],
            candidates=ids,
        )
