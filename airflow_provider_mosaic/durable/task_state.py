"""
The state that a task saves for its next attempts: what it intends to start, and what it started.

The intent is saved before the request is sent, and the id right after the response. If the task dies between the two,
the next attempt knows that it must search. On an Airflow without a task state store nothing is saved; a retry knows
only that an earlier attempt may have started something since the start of the DAG run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from airflow_provider_mosaic.airflow_compat import TaskStateStore, entries_can_vanish, task_state_store
from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.file_links import fingerprint
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.durable.failures import nothing_sent_error, save_best_effort

log = logging.getLogger(__name__)

#: XCom key of a failed task whose attempts certainly started nothing. The value is the map index, so that one request
#: reads it for all mapped siblings.
NOT_STARTED_KEY = "mosaic_not_started"

#: The version of the entries that this version of the provider writes.
_VERSION = 1
#: What the store returns for an entry that was never written.
_ABSENT: Any = object()
#: Seconds before now in which an earlier attempt may have started something, if the start of the DAG run is unknown.
_MAX_DAG_RUN = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class StartRecord:
    """
    What one attempt intends to start or has started.

    :param started_at: When the intent was saved, in seconds since the epoch.
    :param is_saved: Whether the intent was saved. Otherwise an earlier attempt may or may not have started something.
    :param id: The item, once it is known.
    :param deadline: When to stop waiting, in seconds since the epoch. All attempts share it.
    :param existing_ids: Ids of the items that existed before; None if they are unknown.
    :param existing_until: Items that are not in ``existing_ids`` existed too if they were started until then, in
        seconds since the epoch by Mosaic's clock. None if no search compares times.
    :param clock_ahead: Seconds by which the clock of ``started_at`` was ahead of Mosaic's; 0.0 if that is not known. A
        retry may run on another machine.
    :param facts: Other values of the kind of task.
    """

    started_at: float
    is_saved: bool = True
    id: str | None = None
    deadline: float | None = None
    existing_ids: tuple[str, ...] | None = None
    existing_until: float | None = None
    clock_ahead: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> StartRecord:
        """Return the record of an entry of the store."""
        names = {each.name for each in fields(cls)} - {"is_saved"}
        known: dict[str, Any] = {name: value for name, value in entry.items() if name in names and value is not None}
        if "existing_ids" in known:
            known["existing_ids"] = tuple(known["existing_ids"])
        return cls(**known)

    def as_entry(self) -> dict[str, Any]:
        """Return the record as JSON for the store, which rejects tuples."""
        known = {name: value for name, value in vars(self).items() if name != "is_saved" and value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}


@dataclass(frozen=True, kw_only=True)
class _Counters:
    """
    What Airflow counts of a task instance. It has nothing else that tells a retry from a clear.

    A clear changes ``max_tries`` alone: it becomes the number of attempts so far plus ``retries``. If ``retries`` was
    lowered in the DAG file, the sum can be the old one.
    """

    try_number: int
    max_tries: int
    retries: int
    #: How often tasks of the DAG run were cleared; None without a state store, since Airflow 3.1 does not count all
    #: clears.
    clear_number: int | None

    @property
    def seems_first(self) -> bool:
        """Whether this is the first attempt since the last clear, if ``retries`` did not change since."""
        return self.try_number == self.max_tries - self.retries + 1

    @property
    def may_be_retry(self) -> bool:
        """
        Whether there may be earlier attempts since the last clear.

        The first attempt after a clear is no retry, although its ``try_number`` is higher than 1.
        """
        return self.try_number > 1 and (self.clear_number == 0 or not self.seems_first)

    def is_clear_in_doubt(self, stored: Mapping[str, Any]) -> bool:
        """Return whether the task may have been cleared since an entry with the same ``max_tries`` was saved."""
        lowered = self.retries < stored.get("retries", 0)
        return lowered and self.seems_first and self.clear_number != stored.get("clear_number")


class TaskState:
    """
    The saved state of one task instance for one kind of item.

    A record counts for the same request, until a user clears the task. If it is in doubt whether the task was cleared,
    or if another version of the provider wrote the record, an earlier attempt *may* have started something. The caller
    searches for it then, and fails for manual review if anything is found.

    :param kind: The kind of item, for example ``run``. Each kind has its own entry in the store.
    :param request: What the task requests, as a JSON value. If it changed, the task starts over.
    :param durable: Whether to save anything.
    """

    def __init__(self, context: Mapping[str, Any], *, kind: str, request: Any, durable: bool = True) -> None:
        self._store = task_state_store(context) if durable else None
        self._key = f"mosaic_{kind}"
        self._noun = kind.replace("_", " ")
        self._fingerprint = fingerprint(request)
        ti = self._ti = context["ti"]
        clears = int(getattr(context.get("dag_run"), "clear_number", 0) or 0)
        self._counters = _Counters(
            try_number=ti.try_number,
            max_tries=int(ti.max_tries or 0),
            retries=int(ti.task.retries or 0),
            clear_number=None if self._store is None else clears,
        )
        # What an earlier attempt may have started, if its record can't be read; None if it started nothing.
        self._possible_start = (
            StartRecord(started_at=_dag_run_start(context), is_saved=False)
            if durable and self._counters.may_be_retry
            else None
        )
        # Whether this attempt saved an intent or an id, and did not take it back.
        self._may_have_started = False
        #: The item from before the last clear, once :meth:`load` found one.
        self.cleared_id: str | None = None
        #: The record of an earlier attempt with another request, once :meth:`load` found one.
        self.changed: StartRecord | None = None

    def load(self) -> StartRecord | None:
        """
        Return the record of an earlier attempt since the last clear; None if there is nothing to continue.

        :raises MosaicTransportError: The store could not be read, and an earlier attempt may have started something.
        """
        if self._store is None:
            return self._possible_start
        stored = self._stored
        if not stored:
            return self._load_without_entry()
        if "not_started_until_try" in stored:
            return None
        return self._load_entry(stored)

    def is_cleared(self, id: str | None) -> bool:
        """Return whether an item is the one from before the last clear."""
        return id is not None and self.cleared_id is not None and id_key(id) == id_key(self.cleared_id)

    def _load_entry(self, stored: Mapping[str, Any]) -> StartRecord | None:
        """Return the record of an entry, unless the task was cleared or changed since. Log what is discarded."""
        saved = f"saved {self._noun} {stored['id']!r}" if stored.get("id") else f"saved the start of its {self._noun}"
        if stored.get("max_tries") != self._counters.max_tries:
            log.info("The task was cleared since its earlier attempt %s.", saved)
            self.cleared_id = stored.get("id")
            return None
        if stored.get("fingerprint") != self._fingerprint:
            log.warning(
                "The arguments of the task changed since its earlier attempt %s. A template may depend on the time or "
                "on the attempt.",
                saved,
            )
            self.changed = StartRecord.from_entry(stored)
            return None
        record = StartRecord.from_entry(stored)
        if not self._counters.is_clear_in_doubt(stored):
            return record
        log.warning(
            "The task's earlier attempt %s. It is unknown whether this is a retry or the task was cleared, because its "
            "retries were lowered in the DAG file.",
            saved,
        )
        return replace(record, is_saved=False, id=None, facts={})

    def _load_without_entry(self) -> StartRecord | None:
        was_never_written = self._entry is _ABSENT and not entries_can_vanish()
        if self._possible_start is None or was_never_written:
            return None
        log.warning(
            "Task %r: what an earlier attempt saved of its %s is lost or can't be read. The task searches before it "
            "sends anything.",
            self._ti.task_id,
            self._noun,
        )
        return self._possible_start

    def save(self, record: StartRecord) -> None:
        """
        Save a record. It must contain no secret: users who see the task see it.

        :raises Exception: It could not be saved.
        """
        if self._store is not None:
            own = {
                "fingerprint": self._fingerprint,
                "max_tries": self._counters.max_tries,
                "retries": self._counters.retries,
                "clear_number": self._counters.clear_number,
            }
            save_entry(self._store, self._key, {**record.as_entry(), **own})
        self._may_have_started = True

    def save_intent(self, record: StartRecord) -> None:
        """
        Save what the task is about to start.

        :raises Exception: It could not be saved. Nothing may be sent then.
        """
        try:
            self.save(record)
        except Exception as error:
            log.error(
                "Airflow's task state store could not save that the task starts its %s (%s: %s). Nothing was sent, so "
                "nothing is paid or published. A retry starts it when the store is back.",
                self._noun,
                type(error).__name__,
                one_line(str(error)),
            )
            raise

    def save_best_effort(self, record: StartRecord) -> None:
        """Save what was started already. If that fails, log it and continue."""
        save_best_effort(
            lambda: self.save(record),
            what=f"{self._noun} {record.id!r} in the task state store",
            consequence=f"The task continues with {self._noun} {record.id!r}. A retry would have to search for it.",
        )

    def save_missing(self, record: StartRecord) -> None:
        """
        Save what a deferral passed on, unless an id is saved. If that fails, log it and continue.

        No id is saved if Airflow had no store at the start and was upgraded since, or if the save failed then.
        """
        if self._store is None:
            return
        try:
            stored = read_entry(self._store, self._key)
        except Exception as error:
            log.warning(
                "Airflow's task state store could not be read (%s: %s). The task continues with %s %r.",
                type(error).__name__,
                one_line(str(error)),
                self._noun,
                record.id,
            )
            return
        if stored.get("max_tries") == self._counters.max_tries:
            if stored.get("id"):
                return
            record = replace(record, deadline=stored.get("deadline") or record.deadline)
        self.save_best_effort(record)

    def restore(self) -> None:
        """Put back what earlier attempts left, because the request of this attempt had no effect."""
        self._may_have_started = False
        store, entry = self._store, self._entry
        # A lost value may have been of something that was started. The intent of this attempt lets a retry search.
        if store is not None and entry is not None:
            save_best_effort(
                lambda: store.delete(self._key) if entry is _ABSENT else store.set(self._key, entry),
                what=f"that no {self._noun} was started",
                consequence=f"A retry searches for a {self._noun} before it sends the request.",
            )

    def publish_not_started(self) -> None:
        """
        Push the XCom by which the searches of other tasks know that no attempt of this task started anything.

        Push nothing if this attempt or an earlier one may have started something, also one before a clear.
        """
        try:
            if not self._started_nothing():
                return
            self._ti.xcom_push(key=NOT_STARTED_KEY, value=self._ti.map_index)
            if self._store is not None:
                save_entry(self._store, self._key, {"not_started_until_try": self._ti.try_number})
        except Exception:
            log.warning(
                "Task %r started no %s, but this could not be saved for the other tasks of the DAG run. A search of "
                "theirs may fail for manual review.",
                self._ti.task_id,
                self._noun,
                exc_info=True,
            )

    def _started_nothing(self) -> bool:
        """Return whether certainly no attempt started anything, also before a clear."""
        if self._may_have_started:
            return False
        stored = self._stored
        if not stored:
            return self._counters.try_number == 1
        # An unknown attempt in between may have started something.
        return bool(stored.get("not_started_until_try") == self._counters.try_number - 1)

    @cached_property
    def _entry(self) -> Any:
        """The entry as earlier attempts left it: None if its value is lost, ``_ABSENT`` if it was never written."""
        if self._store is None:
            return _ABSENT
        try:
            return self._store.get(self._key, _ABSENT)
        except FileNotFoundError:
            # A state backend that keeps values elsewhere lost this one.
            return None
        except Exception as error:
            if self._possible_start is None:
                # The first attempt, also after a clear, continues nothing.
                log.warning(
                    "Airflow's task state store could not be read. The task starts from the beginning, as its first "
                    "attempt and a cleared one do. %s",
                    one_line(str(error)),
                )
                return _ABSENT
            event, more = "Airflow's task state store could not be read", f"It may contain a {self._noun} to continue."
            raise nothing_sent_error(event, error, more) from error

    @property
    def _stored(self) -> Mapping[str, Any]:
        """The entry of earlier attempts; empty if this version can't read it."""
        entry = _of_this_version(self._entry)
        return entry if entry.keys() & {"started_at", "not_started_until_try"} else {}


def read_entry(store: TaskStateStore | None, key: str) -> Mapping[str, Any]:
    """
    Return an entry of the store; empty if there is none, or another version of the provider wrote it.

    :param store: None on an Airflow without a store.
    """
    return {} if store is None else _of_this_version(store.get(key))


def save_entry(store: TaskStateStore, key: str, values: Mapping[str, Any]) -> None:
    """Save an entry for :func:`read_entry`."""
    store.set(key, {"version": _VERSION, **values})


def _of_this_version(entry: Any) -> Mapping[str, Any]:
    return entry if isinstance(entry, Mapping) and entry.get("version") == _VERSION else {}


def recorded_id(context: Mapping[str, Any], kinds: Iterable[str]) -> str | None:
    """
    Return the id that the task saved since its last clear.

    :param kinds: See :class:`TaskState`; the first one with an id counts.
    """
    store, max_tries = task_state_store(context), int(context["ti"].max_tries or 0)
    for kind in kinds:
        stored = read_entry(store, f"mosaic_{kind}")
        if stored.get("max_tries") == max_tries and stored.get("id"):
            return str(stored["id"])
    return None


def has_entry(context: Mapping[str, Any], kinds: Iterable[str]) -> bool:
    """
    Return whether the store has an entry of one of the kinds.

    An attempt that another one has replaced finds none: Airflow gave the task instance another id.
    """
    store = task_state_store(context)
    return store is not None and any(store.get(f"mosaic_{kind}", _ABSENT) is not _ABSENT for kind in kinds)


def can_save_state(context: Mapping[str, Any], *, durable: bool) -> bool:
    """Return whether a retry will know what this attempt started."""
    return durable and task_state_store(context) is not None


def _dag_run_start(context: Mapping[str, Any]) -> float:
    """Return when the DAG run started, in seconds since the epoch. No attempt of the task is older."""
    started = getattr(context.get("dag_run"), "start_date", None)
    return float(started.timestamp()) if started is not None else time.time() - _MAX_DAG_RUN
