"""
What a task remembers over its tries: what it meant to begin, and what it began.

The intent is noted before a request with effects is sent, and the id at once after its answer, so that whatever
happens in between, the next try knows that there is something to look for. On an Airflow without a task state store
nothing can be noted; a retry there knows only that an earlier try may have begun something since the DAG run did.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.airflow_compat import TaskStateStore, task_state_store, whole_entries_can_vanish
from airflow_provider_mosaic.api.errors import MosaicTransportError
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.signatures import signs
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption
from airflow_provider_mosaic.durable.xcoms import save_best_effort

log = logging.getLogger(__name__)

#: XCom key under which a task that fails tells the others of its DAG run that surely none of its tries has begun
#: anything. Its value is the map index, so that one request shows it of all mapped siblings.
NOT_STARTED_KEY = "mosaic_nothing_begun"

_VERSION = 1
#: What the store returns for an entry that was never written.
_ABSENT: Any = object()
# How far back an earlier try is looked for when Airflow does not say when the DAG run began.
_LONGEST_ORDER = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class ExistingItems:
    """
    What is there before a request, so that it is not taken for its effect.

    :param ids: What the lists show.
    :param until: Whatever else was begun until then, in seconds since the epoch by Mosaic's clock, was there too; None
        if the ids are all.
    """

    ids: tuple[str, ...]
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class StartRecord:
    """
    One entry of the memory.

    :param began: When the intent was noted, in seconds since the epoch.
    :param noted: Whether it was noted; otherwise it is only possible that there was one.
    :param id: The run, post or asset, once it is known.
    :param deadline: When to stop waiting, in seconds since the epoch; kept over all tries.
    :param before: Ids that were there before the request, so that they are not taken for its effect; None when they
        could not be known.
    :param before_until: See :class:`ExistingItems`.
    :param facts: What else the kind of task needs.
    """

    started_at: float
    is_saved: bool = True
    id: str | None = None
    deadline: float | None = None
    existing_ids: tuple[str, ...] | None = None
    existing_until: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class TaskState:
    """
    The memory of one task instance for one kind of thing.

    An entry counts only for the same order and the same request. A retry is the same order. When a person clears the
    task it is a new one: Airflow then sets ``max_tries`` to the tries so far plus ``retries``, and only then does it
    change. Where that can't be told for sure, because ``retries`` was lowered in the DAG file or another version of
    this provider wrote the entry, it is only possible that something was begun: it is looked for, and a person asked.

    :param context: The task's context.
    :param kind: ``run``, ``post`` or ``upload``.
    :param request: What is asked for, as JSON.
    :param durable: Whether to remember at all.
    """

    def __init__(self, context: Mapping[str, Any], *, kind: str, request: Any, durable: bool = True) -> None:
        self._store: TaskStateStore | None = task_state_store(context) if durable else None
        self._key = f"mosaic_{kind}"
        self._followed_key = f"mosaic_{kind}_decisions"
        self._kind = kind
        ti = context["ti"]
        self._order = int(ti.max_tries or 0)
        self._retries = int(ti.task.retries or 0)
        # How often tasks of this DAG run were cleared. Airflow 3.1, which has no store, does not count all of them.
        self._clears = None if self._store is None else int(getattr(context.get("dag_run"), "clear_number", 0) or 0)
        # What the first try of the present order has for its number, if retries is what it was when it began.
        self._seems_first = ti.try_number == self._order - self._retries + 1
        may_be_retry = ti.try_number > 1 and (self._clears == 0 or not self._seems_first)
        #: What there may be, of which nothing can be read; None if there can be nothing.
        self._possible = (
            StartRecord(started_at=_start_of(context), is_saved=False) if durable and may_be_retry else None
        )
        self._fingerprint = fingerprint(request)
        self._ti = ti
        # Whether certainly no try of this task instance has started anything; None: not read yet.
        self._not_started: bool | None = True if ti.try_number == 1 else None
        self._not_started_before = False
        #: What a person has decided.
        self.decisions = ManualAdoption(context)
        #: What the order before the clear began, once it was looked for.
        self.cleared_id: str | None = None
        # Why the task does not continue with what an earlier try left. A user's decision may make it untrue.
        self._unsaid: tuple[int, str] | None = None

    def record_failure_reason(self) -> None:
        """Log why the task does not continue with what an earlier try left, if there was anything; once."""
        if self._unsaid is not None:
            log.log(self._unsaid[0], "%s", self._unsaid[1])
            self._unsaid = None

    def clear_failure_reason(self) -> None:
        """A user has decided that the task continues with it."""
        self._unsaid = None

    def load(self) -> StartRecord | None:
        """
        What an earlier try of the same order left; None if there is nothing to go on with.

        Whoever asks calls :meth:`record_failure_reason` once it is known that no user has decided otherwise.

        :raises MosaicTransportError: The store could not be read, and an earlier try may have begun something.
        """
        if self._store is None:
            return self._possible
        entry = self._entry()
        if entry is _ABSENT and not (self._possible is not None and whole_entries_can_vanish()):
            self._not_started = self._ti.try_number == 1
            return None
        stored = self._readable(entry)
        if stored is None:
            if self._possible is not None:
                log.warning(
                    "What an earlier try of %s %r may have recorded is gone or can't be read: it is looked for before "
                    "anything is sent.",
                    self._kind,
                    self._ti.task_id,
                )
            return self._possible
        if "not_started_until" in stored:
            return None
        if stored.get("order") != self._order:
            self._unsaid = (
                logging.INFO,
                f"The task was cleared: it starts over and does not continue {self._described(stored)}.",
            )
            self.cleared_id = stored.get("id")
            return None
        if stored.get("fingerprint") != self._fingerprint:
            self._unsaid = (
                logging.WARNING,
                f"The task's arguments are not those of its earlier try: it starts over and leaves "
                f"{self._described(stored)} alone, which may still be running.",
            )
            return None
        record = StartRecord(
            started_at=float(stored["started_at"]),
            id=stored.get("id"),
            deadline=stored.get("deadline"),
            existing_ids=None if stored.get("existing_ids") is None else tuple(stored["existing_ids"]),
            existing_until=stored.get("existing_until"),
            facts=stored.get("facts") or {},
        )
        if self._may_be_cleared(stored):
            self._unsaid = (
                logging.WARNING,
                "Whether this is a retry or the task was cleared is unknown, since its retries were lowered in the DAG "
                f"file: it does not continue {self._described(stored)} unless a user decides so.",
            )
            return replace(record, is_saved=False, id=None, facts={})
        return record

    def save_intent(self, record: StartRecord) -> None:
        """
        Remember a record in place of the earlier one.

        :param record: What to remember. It must hold no secret: whoever may see the task may see it.
        """
        self._save(record)
        # From now on a request may go out.
        self._not_started_before, self._not_started = self._not_started is True, False

    def intend(self, record: StartRecord) -> None:
        """
        Remember a record before the request is sent.

        :param record: What to remember, without an id.
        :raises Exception: It could not be recorded: nothing may be sent then.
        """
        try:
            self.save_intent(record)
        except Exception as error:
            log.error(
                "Airflow's task state store could not record that the task starts its %s (%s: %s). Nothing was sent, "
                "so nothing is paid or published. A retry starts it when the store is back.",
                self._kind.replace("_", " "),
                type(error).__name__,
                one_line(str(error)),
            )
            raise

    def _save(self, record: StartRecord) -> None:
        if self._store is not None:
            entry: dict[str, Any] = {
                **asdict(record),
                # The store takes what JSON has, and a tuple is nothing of that.
                "existing_ids": None if record.existing_ids is None else list(record.existing_ids),
                "version": _VERSION,
                "order": self._order,
                "fingerprint": self._fingerprint,
                "retries": self._retries,
                "clears": self._clears,
            }
            self._store.set(self._key, {name: value for name, value in entry.items() if value is not None})

    def save_best_effort(self, record: StartRecord) -> None:
        """
        Remember what has happened already; a fault of the store is logged and does not undo it.

        :param record: What to remember, with its id.
        """
        save_best_effort(
            lambda: self.save_intent(record),
            what=f"{self._kind} {record.id!r} in the task state store",
            consequence=f"The task continues with {self._kind} {record.id!r}. A retry would have to search for it.",
        )

    def adopted_id(self) -> str | None:
        """
        The id that a person has named for this task and that it has not followed yet.

        :raises MosaicValidationError: The Variable can't be read as what it should be.
        """
        named = self.decisions.read()
        if named is not None and named in self._adopted_ids():
            log.warning(
                "The Airflow Variable %r names %s %r, which this task has taken up once already: it does not do so "
                "again. Delete the Variable.",
                self.decisions.variable,
                self._kind,
                named,
            )
            return None
        return named

    def save_adopted(self, record: StartRecord) -> None:
        """
        Remember what a person has named in place of what an earlier try left, and that it was followed.

        :param record: What to remember, with its id.
        """
        try:
            self.save_intent(record)
            if self._store is not None:
                self._store.set(self._followed_key, {"version": _VERSION, "ids": [*self._adopted_ids(), record.id]})
                return
        except Exception as error:
            raise MosaicTransportError(
                f"Airflow's task state store could not record that {self._kind} {record.id!r} is this task's "
                f"({type(error).__name__}: {one_line(str(error))}). Nothing was sent, so nothing is paid or published. "
                "A retry does it when the store is back.",
                effect_unknown=False,
            ) from error
        log.warning(
            "Nothing is kept for the next try, on this Airflow or with durable=False: delete the Variable %r when the "
            "task has ended, or a clear will take up %s %r once more.",
            self.decisions.variable,
            self._kind,
            record.id,
        )

    def clear(self, *, surely: bool) -> None:
        """
        Forget: nothing was begun.

        :param surely: Whether nothing that was sent since the intent was noted can have had an effect. What was only
            looked for and not found is not as sure as that.
        """
        self._not_started = surely and self._not_started_before
        if self._store is not None:
            store = self._store
            save_best_effort(
                lambda: store.delete(self._key),
                what=f"that no {self._kind} was started",
                consequence="Nothing was started. A retry searches for it before it sends the request.",
            )

    @contextmanager
    def publishing_not_started(self) -> Iterator[None]:
        """
        When what is done in it fails, tell the DAG run's other tasks that nothing was begun, if that is sure: then
        nothing whose owner they look for can be this task's.
        """
        try:
            yield
        except AirflowSkipException:
            # Nobody suspects a task that was skipped.
            raise
        except Exception:
            self._publish_not_started()
            raise

    def _publish_not_started(self) -> None:
        try:
            if self._not_started is None:
                self._readable(self._store.get(self._key, _ABSENT) if self._store else _ABSENT)
            if not self._not_started:
                return
            self._ti.xcom_push(key=NOT_STARTED_KEY, value=self._ti.map_index)
            if self._store is not None:
                self._store.set(self._key, {"version": _VERSION, "not_started_until": self._ti.try_number})
        except Exception:
            log.warning("Could not tell the other tasks of this DAG run that nothing was begun.", exc_info=True)

    def _entry(self) -> Any:
        """The entry as it is stored: None if its value is gone, ``_ABSENT`` if it was never written."""
        assert self._store is not None  # noqa: S101 - the caller has looked
        try:
            return self._store.get(self._key, _ABSENT)
        except FileNotFoundError:
            # A state backend that keeps values elsewhere, and has lost this one.
            return None
        except Exception as error:
            if self._possible is None:
                # A new order of a cleared task, or the first try: whatever was begun before is left alone.
                log.warning("Airflow's task state store could not be read: %s", one_line(str(error)))
                return _ABSENT
            raise MosaicTransportError(
                f"Airflow's task state store could not be read ({type(error).__name__}: {one_line(str(error))}). An "
                f"earlier try may have started a {self._kind}, so nothing was sent and nothing is paid. A retry reads "
                "it again; clear the task to start anew.",
                effect_unknown=False,
            ) from error

    def _readable(self, stored: Any) -> Mapping[str, Any] | None:
        if (
            not isinstance(stored, Mapping)
            or stored.get("version") != _VERSION
            or not stored.keys() & {"started_at", "not_started_until"}
        ):
            self._not_started = self._ti.try_number == 1
            return None
        # A try in between, of which nothing is known, may have begun something.
        self._not_started = stored.get("not_started_until") == self._ti.try_number - 1
        return stored

    def _may_be_cleared(self, stored: Mapping[str, Any]) -> bool:
        """Whether a clear may have set ``max_tries`` to what it was, since ``retries`` is lower than it was."""
        lowered = self._retries < stored.get("retries", 0)
        return lowered and self._seems_first and self._clears != stored.get("clears")

    def _adopted_ids(self) -> list[str]:
        stored = self._store.get(self._followed_key) if self._store else None
        return list(stored["ids"]) if isinstance(stored, Mapping) and stored.get("version") == _VERSION else []

    def _described(self, stored: Mapping[str, Any]) -> str:
        return f"{self._kind} {stored['id']!r}" if stored.get("id") else f"the {self._kind} that it may have begun"


def publishing_not_started(context: Mapping[str, Any], kind: str | None) -> AbstractContextManager[None]:
    """
    What comes before anything is begun, in a task that begins things: see :meth:`TaskMemory.publishing_not_started`.

    :param context: The task's context.
    :param kind: The kind of things; None for a task that begins nothing that others look for.
    """
    return nullcontext() if kind is None else TaskState(context, kind=kind, request=None).publishing_not_started()


def recorded_id(context: Mapping[str, Any], kinds: Iterable[str]) -> str | None:
    """
    The id that this order of the task has recorded last.

    :param context: The task's context.
    :param kinds: See :class:`TaskState`; the first one that is there counts.
    """
    store, order = task_state_store(context), int(context["ti"].max_tries or 0)
    if store is None:
        return None
    for kind in kinds:
        stored = store.get(f"mosaic_{kind}")
        if isinstance(stored, Mapping) and stored.get("order") == order and stored.get("id"):
            return str(stored["id"])
    return None


def has_start_record(context: Mapping[str, Any], *, durable: bool) -> bool:
    """
    Whether a retry will know what this try has begun.

    :param context: The task's context.
    :param durable: Whether it should be remembered at all.
    """
    return durable and task_state_store(context) is not None


def _start_of(context: Mapping[str, Any]) -> float:
    """When the DAG run began, in seconds since the epoch: no try of the task was earlier."""
    began = getattr(context.get("dag_run"), "start_date", None)
    return float(began.timestamp()) if began is not None else time.time() - _LONGEST_ORDER


def fingerprint(request: Any) -> str:
    """
    A short text that differs where requests differ in what they ask for, and not where only a link's signature does.

    :param request: Anything that JSON can write.
    """
    text = json.dumps(_unsigned(request), sort_keys=True, ensure_ascii=False, default=str)
    # A file's name that is no UTF-8 has half characters in it.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _unsigned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _unsigned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unsigned(item) for item in value]
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        try:
            parts = urlsplit(value)
            query = parse_qsl(parts.query, keep_blank_values=True)
        except ValueError:
            # A text that only begins like a link.
            return value
        # It changes with each rendering of a template and is not part of what is asked for.
        kept = [(name, item) for name, item in query if not signs(name)]
        return urlunsplit(parts._replace(query=urlencode(kept, errors="surrogatepass")))
    return value
