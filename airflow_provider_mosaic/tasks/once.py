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
from airflow_provider_mosaic.api.search import PAUSES, SETTLING, Candidate, Finding, Patience, Search, Siblings
from airflow_provider_mosaic.tasks.failing import fail_exception, log_lines
from airflow_provider_mosaic.tasks.memory import Before, Record, TaskMemory

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Once:
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

    what: str
    memory: TaskMemory
    begin: Callable[[], str]
    present: Callable[[float], Before | None]
    candidates: Callable[[Record], list[Candidate]]
    siblings: Callable[[bool], Siblings]
    adopt: bool
    timeout: float | None
    advice: str
    allow: Callable[[], None] = lambda: None
    stands: Callable[[Record], bool] = lambda record: True
    new_clock: bool = False
    cleared: Callable[[str], None] = lambda id: None
    tell: Callable[[str], None] = lambda id: None
    may_be: Callable[[str], object] = lambda id: None

    def ensure(self) -> Record:
        """
        Begin it, or go on with what an earlier try of the same order has begun or may have begun, or with what a
        person has named.

        :returns: The record, with the id.
        :raises MosaicAmbiguousOutcomeError: It is unknown whether it was begun.
        :raises MosaicError: It was not begun.
        """
        with self.memory.telling_if_blank():
            return self._ensure()

    def _ensure(self) -> Record:
        record = self.memory.recall()
        cleared_id = self.memory.cleared_id
        if record is None or record.id is None:
            record = self.decided(record) or record
        self.memory.say_why_not()
        if cleared_id is not None and (record is None or record.id != cleared_id):
            self.cleared(cleared_id)
        if record is None:
            return self.start()
        if record.id is None:
            return self.go_on(record)
        # Airflow has taken back what the earlier try has said.
        self.tell(record.id)
        if self.stands(record):
            return record
        return self.start(deadline=None if self.new_clock else record.deadline)

    def decided(self, record: Record | None) -> Record | None:
        """
        Return what a user has named for it, saved as if an earlier try had started it.

        :param record: What an earlier try left, without an id.
        :returns: The record, with the id; None if nobody has named anything.
        :raises MosaicValidationError: What is named can't be it.
        """
        named = self.memory.decided()
        if named is None:
            return None
        try:
            self.may_be(named)
        except MosaicConnectionError:
            # It was not read, so nothing is known to be wrong with what is named.
            raise
        except (MosaicNotFoundError, MosaicValidationError) as error:
            raise self.memory.decisions.refusal(f"it names {named!r}. {error}") from error
        if record is None or not record.noted:
            now = time.time()
            record = Record(began=now, deadline=None if self.timeout is None else now + self.timeout)
        log.warning(
            "By the Airflow Variable %r, %r is %s: going on with it.", self.memory.decisions.variable, named, self.what
        )
        self.memory.forget_why_not()
        record = replace(record, id=named)
        self.memory.follow(record)
        return record

    def start(self, *, deadline: float | None = None) -> Record:
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

    def go_on(self, record: Record) -> Record:
        """
        Resume after an earlier try that saved its intent and no id: search first, and start it only if it is not there.

        :param record: What the earlier try left.
        :returns: The record, with the id.
        """
        log.info("An earlier try may have begun %s and left no id: looking for it.", self.what)
        # The request may have been on its way when the earlier try died, which can have been a moment ago.
        found = self._look(record, lost=None)
        if found is not None:
            return found
        log.info("The earlier try did not begin %s: beginning it now.", self.what)
        return self._begin(deadline=record.deadline) if record.noted else self.start()

    def _begin(self, *, deadline: float | None) -> Record:
        began = time.time()
        if deadline is not None and began >= deadline:
            # The clock began with the first try: what is begun now would only be given up, and paid.
            raise fail_exception(
                MosaicTimeoutError(
                    f"The time given for {self.what} is over: it is not begun again.",
                    means="Nothing was started or published by this try.",
                )
            )
        self.allow()
        before = self.present(began)
        record = Record(
            began=began,
            deadline=deadline,
            before=None if before is None else before.ids,
            before_until=None if before is None else before.until,
        )
        self.memory.intend(record)
        return self._send(record)

    def _send(self, record: Record, *, again: bool = False) -> Record:
        try:
            begun = replace(record, id=self.begin())
        except MosaicAmbiguousOutcomeError as lost:
            log_lines((*lost.lines, "Looking for it, for up to two minutes."), level=logging.WARNING)
            found = self._look(record, lost=lost)
            if found is not None:
                return found
            if lost.candidates:
                # The answer names an id: what it names may be there although no list shows it yet.
                named = tuple(Candidate(id=id, status="not listed") for id in lost.candidates)
                raise self._unclear(named, lost) from lost
            if again:
                # It was not done, twice: what came back says why.
                raise self._not_done(lost) from None
            log.warning("There is no sign of %s: sending the request once more.", self.what)
            return self._send(record, again=True)
        except MosaicError:
            # Any other end is a plain no: there is nothing that a retry would have to look for.
            self.memory.forget(surely=not again)
            raise
        except BaseException:
            # Airflow ends a try like that when its execution_timeout is over.
            log.warning(
                "This try was ended while the request was on its way. Whether it was done is unknown: %s. The next "
                "try, if there is one, looks before it sends anything. %s",
                self.what,
                self.advice,
            )
            raise
        return self._noted(begun)

    def _noted(self, record: Record) -> Record:
        self.memory.note(record)
        self.tell(str(record.id))
        return record

    def _look(self, record: Record, *, lost: MosaicAmbiguousOutcomeError | None) -> Record | None:
        """
        Look for it, again and again for two minutes from now on.

        :returns: The record with the id; None when it is surely not there.
        """
        search = Search(own_request=lost is not None)
        until = time.time() + sum(PAUSES)
        pauses, settling = iter(PAUSES), iter(SETTLING)
        patience = Patience(f"Still looking for {self.what}; nothing is sent meanwhile.", time.time())
        while True:
            left = until - time.time()
            over = left <= 0.5
            pause = next(settling, None) if over else min(next(pauses, left), left)
            finding, candidates = self._look_once(search, record, over=over, last=pause is None, lost=lost)
            if finding is Finding.NOTHING:
                return None
            # Where nothing was noted, or what was there before is not known, it may as well be another pipeline's.
            if finding is Finding.FOUND and self.adopt and record.noted and record.before is not None:
                found = replace(record, id=candidates[0].id)
                log.warning("Found %s: %s. Going on with it.", self.what, candidates[0])
                return self._noted(found)
            if finding is not Finding.LOOK_AGAIN or pause is None:
                raise self._unclear(candidates, lost) from lost
            for piece in patience.pieces(pause):
                time.sleep(piece)
                patience.say(log.info, time.time())

    def _look_once(
        self, search: Search, record: Record, *, over: bool, last: bool, lost: MosaicAmbiguousOutcomeError | None
    ) -> tuple[Finding, tuple[Candidate, ...]]:
        try:
            candidates = self.candidates(record)
        except MosaicError as error:
            # Also what looks permanent: a person is asked only when nothing else is left.
            if not last:
                log.warning("Could not look for %s: %s", self.what, error)
                return Finding.LOOK_AGAIN, ()
            raise self._unclear((), lost, f"The lists could not be read: {error}") from error
        # Those that wait matter only where an earlier try has sent the request: see the search.
        siblings = self.siblings(lost is None) if candidates else Siblings()
        return search.look(candidates, siblings, over=over, last=last)

    def _not_done(self, lost: MosaicAmbiguousOutcomeError) -> MosaicError:
        """What came back last, for a request that went out twice and was not carried out."""
        why = lost.__cause__ if isinstance(lost.__cause__, MosaicError) else lost
        means = f"The request was sent twice, and the lists do not show {self.what}: nothing seems to have been done."
        why.set_consequences(means=means, to_do=why.to_do)
        return why

    def _unclear(
        self, candidates: tuple[Candidate, ...], lost: MosaicAmbiguousOutcomeError | None, why: str = ""
    ) -> MosaicAmbiguousOutcomeError:
        ids = [candidate.id for candidate in candidates]
        cause = f"What came back: {lost.__cause__ or lost}" if lost else "An earlier try died in the middle of it."
        listed = [f"  {candidate}" for candidate in candidates[:10]] or ["  none that could be told apart"]
        return MosaicAmbiguousOutcomeError(
            f"Whether this was begun is unknown: {self.what}. {cause}{f' {why}' if why else ''}",
            means="Nothing was sent again, so nothing was paid or published twice.",
            to_do=(self.advice, *self.memory.decisions.invitation(ids)),
            items=[] if why else ["Candidates:", *listed],
            candidates=ids,
        )
