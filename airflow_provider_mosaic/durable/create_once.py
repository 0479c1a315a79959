"""
Create an item once, over lost responses, kills and retries.

The intent is saved in the task state store before the request is sent. If the outcome of the request is unknown, or an
earlier attempt died before it saved an id, the lists are searched. An outcome that stays unknown needs manual review.

Read :meth:`CreateOnce.ensure` first. A creation passes through ``_create``, ``_send`` and ``_save_started``. If the
response is lost, it also passes through ``_find_lost``, ``_search`` and ``_adopt_found``.
"""

from __future__ import annotations

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicConnectionError,
    MosaicError,
    MosaicNotFoundError,
    MosaicTimeoutError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.metrics import OUTCOMES_AMBIGUOUS, RESPONSES_LOST, Metric, count
from airflow_provider_mosaic.api.redaction import listed
from airflow_provider_mosaic.api.search import (
    MAX_DELAY,
    OWNER_GRACE_DELAYS,
    PAUSES,
    Candidate,
    ProgressLog,
    Search,
    SearchResult,
    Siblings,
)
from airflow_provider_mosaic.durable.failures import fail_exception, log_lines, nothing_sent_error, save_best_effort
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState

log = logging.getLogger(__name__)

#: The fact in the saved intent that the request may have been sent twice.
_RESENT = "resent"
#: The fact in a saved record that a user named the item, and no attempt has continued with it yet.
_NAMED = "named"


class CreateOnce(ABC):
    """
    The creation of one item: it happens once, until a user clears the task.

    A subclass sends the request and reads the lists. This class decides when, by the saved state of the task:

    - An id of an earlier attempt: continue with the item, or create it again if :meth:`can_continue` returns False.
    - An id that a user named: adopt the item.
    - An intent without an id: search for the item, and continue as with an id, or create it if it does not exist.
    - An id of another request: :meth:`on_changed`. An intent of another request needs manual review.
    - Nothing: save the intent and create the item. If the response is lost, search, and send the request once more.

    :param kind: The kind of item: see :class:`TaskState`.
    :param request: What the task requests: see :class:`TaskState`.
    :param durable: Whether to save anything for the next attempt.
    :param description: The item in log lines, for example ``a run of agent 'x'``.
    :param timeout: Seconds from the first intent until the wait for the item stops.
    :param adopt: Whether a search adopts the only candidate that is left. Otherwise that needs manual review.
    """

    #: Counts the items that were created; None if nothing counts them.
    metric: ClassVar[Metric | None] = None
    #: What a user can check when the outcome stays unknown.
    advice: ClassVar[str]
    #: Whether an item that is created again has the whole timeout. Otherwise the first deadline holds.
    restart_deadline: ClassVar[bool] = False

    def __init__(
        self,
        context: Mapping[str, Any],
        *,
        kind: str,
        request: Any,
        durable: bool = True,
        description: str,
        timeout: float | None = None,
        adopt: bool = True,
    ) -> None:
        self.state = TaskState(context, kind=kind, request=request, durable=durable)
        self._context = context
        self._kind = kind
        self._durable = durable
        self._description = description
        self._timeout = timeout
        self._adopt = adopt
        #: Whether an earlier request may have created the item, although no list showed it. If True, a request whose
        #: response is lost is not sent again.
        self.was_sent_before = False
        #: Whether a user named the item, and the task has not continued with it yet.
        self.is_named = False
        #: Whether the known item is of an earlier attempt with another request, and is not given up yet.
        self.is_replacing = False

    @abstractmethod
    def send(self) -> str:
        """Send the request that creates the item, and return the item's id."""

    @abstractmethod
    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        """
        Add the items that exist before the request, so that a search does not take them for its effect.

        :returns: The same record if there are too many. A search adopts nothing then.
        :raises MosaicError: They could not be read. A search adopts nothing then.
        """

    @abstractmethod
    def find_candidates(self, record: StartRecord) -> list[Candidate]:
        """Return the listed items that the request of a record may have created."""

    def clock_ahead(self) -> float:
        """Return the seconds by which this machine's clock is ahead of Mosaic's; 0.0 if no search compares times."""
        return 0.0

    def siblings(self) -> SiblingTasks | None:
        """Return the other tasks that create such items; None if the owner of a found item does not matter."""
        return None

    def check_before_start(self) -> None:  # noqa: B027 - optional
        """Raise if the item must not be created now. Nothing is saved or sent before this check."""

    def can_continue(self, record: StartRecord) -> bool:
        """Return whether to continue with what an earlier attempt started. If not, start again."""
        return True

    def on_started(self, id: str) -> None:  # noqa: B027 - optional
        """Push the id to XCom as soon as it is known, including the id of an earlier attempt."""

    def on_replaced(self, id: str) -> None:  # noqa: B027 - optional
        """
        Withdraw the id from XCom, because the task creates another item, or another DAG run has adopted this one.

        Siblings would take it for the id of the task's item.
        """

    def on_cleared(self, id: str) -> None:  # noqa: B027 - optional
        """Clean up the item from before a user's clear. The task creates another one."""

    def on_changed(self, record: StartRecord) -> None:  # noqa: B027 - optional
        """Clean up the item of an earlier attempt with another request, or raise if no other item may be created."""

    def validate_adopted(self, id: str) -> None:  # noqa: B027 - optional
        """Raise if the item that a user named does not exist, or can't be the task's."""

    def ensure(self) -> StartRecord:
        """
        Create the item, or continue with the item of an earlier attempt or of a user's choice.

        :returns: The record, with the id.
        :raises MosaicAmbiguousOutcomeError: It is unknown whether the item was created.
        :raises MosaicError: The item was not created.
        """
        try:
            return self._ensure()
        except AirflowSkipException:
            # A skipped task cannot own an item.
            raise
        except Exception:
            self.state.publish_not_started()
            raise

    def _ensure(self) -> StartRecord:
        record = self.load_or_adopt()
        cleared_id = self.state.cleared_id
        # A user may have named the item from before the clear: the task continues with it then.
        if cleared_id is not None and not self.state.is_cleared(None if record is None else record.id):
            self.on_cleared(cleared_id)
        if record is None:
            if self.state.changed is not None:
                self._replace_changed(self.state.changed)
            return self._create()
        if record.id is None:
            return self.search_for_earlier(record)
        # Airflow deletes the XComs of the earlier attempt.
        self.on_started(record.id)
        self.is_named = bool(record.facts.get(_NAMED))
        record = self._continue_or_replace(record)
        if self.is_named:
            self.is_named = False
            record = replace(record, facts={})
            save_best_effort(
                lambda: self.state.save(record),
                what=f"that the task continues with {record.id!r}",
                consequence="A retry still treats it as named by a user.",
            )
        return record

    def _continue_or_replace(self, record: StartRecord) -> StartRecord:
        """Continue with the item of an earlier attempt, or create it again if it can't be continued."""
        if self.can_continue(record):
            return record
        self.is_named = False
        self.on_replaced(str(record.id))
        return self._create(None if self.restart_deadline else record.deadline)

    def load_or_adopt(self) -> StartRecord | None:
        """Return the record of an earlier attempt. If it has no id, adopt the item that a user named."""
        record = self.state.load()
        is_first = self._context["ti"].try_number <= 1
        if is_first or (record is not None and record.id is not None):
            return record
        return self._adopt_named(record) or record

    def _replace_changed(self, record: StartRecord) -> None:
        """Prepare to create an item although an earlier attempt may have created one for another request."""
        if record.id is None:
            # A search compares the lists with the new request, and would not find the item.
            raise self._unknown_outcome((), None, "The arguments have changed since, so it can't be searched for.")
        self.is_replacing = True
        # The error of the check names the item, and Airflow deletes the XComs of the earlier attempt.
        self.on_started(record.id)
        # Before an item is given up that nothing would replace.
        self.check_before_start()
        self.on_changed(record)
        self.on_replaced(record.id)
        self.is_replacing = False

    def search_for_earlier(self, record: StartRecord) -> StartRecord:
        """Search for the item of an earlier attempt that saved no id. Create it if the lists do not show it."""
        log.info("An earlier attempt may have created %s and saved no id. Searching for it.", self._description)
        self.was_sent_before = bool(record.facts.get(_RESENT))
        found = self._search(record, lost=None)
        if found is not None:
            return self._continue_or_replace(self._adopt_found(record, found, lost=None))
        log.info("The earlier attempt did not create %s. Creating it now.", self._description)
        self.was_sent_before = True
        return self._create(record.deadline if record.is_saved else None)

    @cached_property
    def adoption(self) -> ManualAdoption:
        """The Variable in which a user may name the item."""
        return ManualAdoption(self._context, kind=self._kind, durable=self._durable)

    def _adopt_named(self, record: StartRecord | None) -> StartRecord | None:
        """Adopt the item that a user named in the Airflow Variable, if there is one."""
        adoption = self.adoption
        id = adoption.read()
        if id is None:
            return None
        try:
            self.validate_adopted(id)
        except MosaicConnectionError:
            # A subclass of MosaicValidationError. Nothing was sent, so the Variable may be right.
            raise
        except (MosaicNotFoundError, MosaicValidationError) as error:
            raise adoption.invalid(f"it names {id!r}. {error}") from error
        if record is None or not record.is_saved:
            now = time.time()
            record = StartRecord(started_at=now, deadline=self._deadline(now))
        log.warning(
            "Airflow Variable %r names %r as %s. The task continues with it.", adoption.variable, id, self._description
        )
        record = replace(record, id=id, facts={_NAMED: True})
        try:
            self.state.save(record)
            adoption.save_used(id)
        except Exception as error:
            event = f"Airflow's task state store could not save that this task continues with {id!r}"
            raise nothing_sent_error(event, error) from error
        return record

    def _deadline(self, now: float) -> float | None:
        return None if self._timeout is None else now + self._timeout

    def _create(self, deadline: float | None = None) -> StartRecord:
        """
        Save the intent and create the item.

        :param deadline: The deadline that the first attempt set; None to count the timeout from now.
        """
        self._fail_if_over(deadline)
        self.check_before_start()
        record = StartRecord(started_at=time.time())
        try:
            record = self.snapshot_existing(record)
        except MosaicError as error:
            log.info(
                "The existing items could not be listed before creating %s. If the response is lost, the search adopts "
                "nothing. %s",
                self._description,
                error,
            )
        # The lists may have taken minutes.
        self._fail_if_over(deadline)
        now = time.time()
        record = replace(
            record,
            started_at=now,
            deadline=self._deadline(now) if deadline is None else deadline,
            clock_ahead=self.clock_ahead(),
        )
        if self.was_sent_before:
            record = replace(record, facts={_RESENT: True})
        self.state.save_intent(record)
        return self._send(record)

    def _fail_if_over(self, deadline: float | None, *, is_resend: bool = False) -> None:
        """Raise if the deadline has passed: the item would be paid for, and the wait for it would end at once."""
        if deadline is None or time.time() < deadline:
            return
        effect, means = "it is not created", "This attempt started and published nothing."
        if is_resend:
            effect = "the request is not sent again"
            means = "For two minutes after the request, the lists did not show it. Most likely nothing was created."
        what = f"The timeout for {self._description} has passed, so {effect}."
        raise fail_exception(MosaicTimeoutError(what, means=means, to_do=self.advice if is_resend else ()))

    def _send(self, record: StartRecord) -> StartRecord:
        """Send the request. After a lost response search for the item, and send the request once more."""
        is_resent = False
        while True:
            try:
                id = self.send()
            except MosaicAmbiguousOutcomeError as lost:
                found = self._find_lost(record, lost)
                if found is not None:
                    return self._adopt_found(record, found, lost)
            except MosaicError as error:
                # Any other error means that the request had no effect.
                if not is_resent:
                    self.state.restore()
                if self.was_sent_before:
                    means = f"This request had no effect. An earlier one may have had one: a {self._retry_effect}."
                    to_do = (*error.to_do, self.advice, *self.adoption.adopt_hint(()))
                    error.set_consequences(means=means, to_do=to_do)
                raise
            except BaseException:
                # For example Airflow's end of an attempt whose execution_timeout has passed.
                log.warning(
                    "The attempt was ended during the request. It is unknown whether %s was created. A %s. %s",
                    self._description,
                    self._retry_effect,
                    self.advice,
                )
                raise
            else:
                return self._save_started(record, id)
            self._fail_if_over(record.deadline, is_resend=True)
            log.warning("The lists do not show %s. Sending the request once more.", self._description)
            self.was_sent_before = is_resent = True
            record = replace(record, facts={_RESENT: True})
            self.state.save_intent(record)

    @property
    def _retry_effect(self) -> str:
        """What a retry does about an item whose creation is unknown, as the end of a sentence."""
        if self._durable:
            return "retry searches for it before it sends anything"
        return "retry does not search for it, because durable=False"

    def _find_lost(self, record: StartRecord, lost: MosaicAmbiguousOutcomeError) -> Candidate | None:
        """Search for the item after a lost response. Return None if the request may be sent once more."""
        count(RESPONSES_LOST)
        log_lines((*lost.lines, "Searching for it, for up to two minutes."), level=logging.WARNING)
        found = self._search(record, lost=lost)
        if found is not None:
            return found
        if lost.candidates or lost.accepted:
            # The response names an id or reports success: sending the request again would most likely create a second
            # item, although no list shows the first one yet.
            named = tuple(Candidate(id=id, status="not listed") for id in lost.candidates)
            raise self._unknown_outcome(named, lost) from lost
        if self.was_sent_before:
            raise self._not_created(lost) from None
        return None

    def _adopt_found(
        self, record: StartRecord, found: Candidate, lost: MosaicAmbiguousOutcomeError | None
    ) -> StartRecord:
        """
        Push and save the item that a search found.

        :raises MosaicAmbiguousOutcomeError: A task of another DAG run has adopted it at the same moment.
        """
        siblings = self.siblings()
        if siblings is not None:
            siblings.push_id(found.id)
            other = siblings.other_dag_run_with(found.id)
            if other is not None:
                self.on_replaced(found.id)
                why = f"{found.id!r} may belong to this task or to DAG run {other!r}, which continues with it too."
                raise self._unknown_outcome((found,), lost, why) from lost
        # Not before: a timeout, the task's page, or the task after a clear would cancel an item that may be the other
        # DAG run's.
        self.on_started(found.id)
        return self._save_id(record, found.id)

    def _save_started(self, record: StartRecord, id: str) -> StartRecord:
        record = self._save_id(record, id)
        self.on_started(id)
        return record

    def _save_id(self, record: StartRecord, id: str) -> StartRecord:
        if self.metric is not None:
            count(self.metric)
        if self.was_sent_before:
            log.warning(
                "The request for %s may have been sent twice. If Mosaic's lists lag by more than two minutes, a second "
                "one exists besides %r, and is paid or published too. %s",
                self._description,
                id,
                self.advice,
            )
        record = replace(record, id=id)
        self.state.save_best_effort(record)
        return record

    def _search(self, record: StartRecord, *, lost: MosaicAmbiguousOutcomeError | None) -> Candidate | None:
        """
        Search for two minutes. Return the item; None if it was not created.

        :param lost: The error of this attempt's own request; None if an earlier attempt may have sent one.
        :raises MosaicAmbiguousOutcomeError: It stays unknown whether the item was created, or which item it is.
        """
        search, siblings = Search(own_request=lost is not None), self.siblings()
        # Without the list of existing items, the only candidate may be older than the request.
        may_adopt = self._adopt and record.is_saved and record.existing_ids is not None
        for over, is_last in _reading_times(f"Still searching for {self._description}; nothing is sent."):
            try:
                candidates, owners = self._read_lists(record, lost, siblings)
            except MosaicError as error:
                if is_last:
                    raise self._unknown_outcome((), lost, f"The lists could not be read: {error}") from error
                # Repeat the search also after a permanent error: otherwise the task fails for manual review.
                log.warning("The search for %s failed and is repeated. %s", self._description, error)
                continue
            result, left = search.add_listing(candidates, owners, over=over)
            if result is SearchResult.FOUND:
                others = siblings.ids_of_other_dag_runs() if siblings else frozenset()
                if others is None:
                    result, search.possible_owners = SearchResult.UNCLEAR, None
                elif search.is_free_beside(left[0], others):
                    break
                else:
                    # What is left without the candidate may be nothing.
                    result, left = search.add_listing(candidates, owners, over=over)
            if result is SearchResult.NOTHING:
                return None
        if result is SearchResult.FOUND and may_adopt:
            log.warning("Found %s: %s. The task continues with it.", self._description, left[0])
            return left[0]
        raise self._unknown_outcome(left, lost, self._why_not_adopted(record, search, left)) from lost

    def _why_not_adopted(self, record: StartRecord, search: Search, left: tuple[Candidate, ...]) -> str:
        """Return a sentence on the only candidate that is left; empty if there is another number of candidates."""
        if len(left) != 1:
            return ""
        owners = search.possible_owners
        if owners is None or owners:
            names = listed(sorted(owners)) if owners else "tasks that could not be read"
            return f"The candidate may belong to another task that has not pushed an id: {names}."
        if not self._adopt:
            return "The candidate is not adopted because of on_ambiguous='fail'."
        if not record.is_saved or record.existing_ids is None:
            return "The candidate may have existed before the request: what existed then is not known."
        if left[0].is_partial_match:
            return "The candidate is similar to the request, but not equal."
        return "The candidate may belong to another task."

    def _read_lists(
        self, record: StartRecord, lost: MosaicAmbiguousOutcomeError | None, siblings: SiblingTasks | None
    ) -> tuple[list[Candidate], Siblings]:
        """Return the listed items that may be ours, and then the tasks that may own them."""
        candidates = self.find_candidates(record)
        if lost is not None and lost.candidates:
            # The response names ids: an item with another id belongs to another client.
            named = set(map(id_key, lost.candidates))
            candidates = [candidate for candidate in candidates if id_key(candidate.id) in named]
        if not candidates or siblings is None:
            return candidates, Siblings()
        # Waiting siblings matter only if an earlier attempt sent the request: see Search.
        return candidates, siblings.read(include_waiting=lost is None)

    def _not_created(self, lost: MosaicAmbiguousOutcomeError) -> MosaicError:
        error = lost.__cause__ if isinstance(lost.__cause__, MosaicError) else lost
        means = (
            "The request may have been sent twice. For two minutes after each, the lists did not show "
            f"{self._description}. Most likely nothing was created."
        )
        ti = self._context["ti"]
        # A retry searches once more. A clear before that would not.
        is_last = error is lost or int(ti.try_number or 1) > int(ti.max_tries or 0)
        hint = self.adoption.adopt_hint(()) if is_last else ()
        error.set_consequences(means=means, to_do=(self.advice, *error.to_do, *hint))
        return error

    def _unknown_outcome(
        self, candidates: tuple[Candidate, ...], lost: MosaicAmbiguousOutcomeError | None, why: str = ""
    ) -> MosaicAmbiguousOutcomeError:
        """Return the error for an item that needs manual review. ``why`` is one more sentence on the cause."""
        count(OUTCOMES_AMBIGUOUS)
        ids = [candidate.id for candidate in candidates]
        cause = (
            f"The response was: {lost.__cause__ or lost}"
            if lost
            else "An earlier attempt may have sent the request, and saved no id."
        )
        means = (
            "The request may have been sent twice, so two items may exist: they may be paid or published twice."
            if self.was_sent_before
            else "Nothing was sent again, so nothing was paid or published twice."
        )
        return MosaicAmbiguousOutcomeError(
            f"It is unknown whether this was created: {self._description}. {cause}{f' {why}' if why else ''}",
            means=means,
            to_do=(self.advice, *self.adoption.adopt_hint(ids)),
            rows=["Candidates:", *(f"  {candidate}" for candidate in candidates[:10])] if candidates else [],
            candidates=ids,
        )


def _reading_times(line: str) -> Iterator[tuple[bool, bool]]:
    """
    Yield each time that the lists are to be read, for two minutes and then a few times more. Sleep in between.

    :param line: Logged in a long search.
    :returns: Whether the two minutes are over, and whether this reading is the last one.
    """
    # The wall clock may be set during the search.
    end = time.monotonic() + sum(PAUSES)
    # Searches that start together, after an outage, must not adopt at the same moment.
    pauses = (pause * random.uniform(1.0, 1.1) for pause in PAUSES)
    grace_delays = iter(OWNER_GRACE_DELAYS)
    progress = ProgressLog(line, time.monotonic())
    while True:
        left = end - time.monotonic()
        # Less than half a second is not worth another reading.
        over = left <= 0.5
        late = left <= -MAX_DELAY
        pause = None if late else next(grace_delays, None) if over else min(next(pauses, left), left)
        yield over, pause is None
        if pause is None:
            return
        for seconds in progress.split_pause(pause):
            time.sleep(seconds)
            progress.log_if_due(log.info, time.monotonic())
