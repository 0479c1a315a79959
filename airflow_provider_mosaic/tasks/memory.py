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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from airflow_provider_mosaic.airflow_features import TaskStateStore, task_state_store
from airflow_provider_mosaic.tasks.decisions import Decisions

log = logging.getLogger(__name__)

_VERSION = 1
# How far back an earlier try is looked for when Airflow does not say when the DAG run began.
_LONGEST_ORDER = 24 * 3600.0
# What signs a link changes with each rendering of a template and is not part of what is asked for.
_SIGNING = frozenset(
    {
        "expires", "signature", "sig", "token", "policy", "key-pair-id", "awsaccesskeyid", "googleaccessid",
        "se", "st", "sp", "sv", "sr", "spr", "ske", "skoid", "sks", "skt", "sktid", "skv", "hdnts", "hdnea",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Record:
    """
    One entry of the memory.

    :param began: When the intent was noted, in seconds since the epoch.
    :param noted: Whether it was noted; otherwise it is only possible that there was one.
    :param id: The run, post or asset, once it is known.
    :param deadline: When to stop waiting, in seconds since the epoch; kept over all tries.
    :param before: Ids that were there before the request, so that they are not taken for its effect; None when they
        could not be known.
    :param facts: What else the kind of task needs.
    """

    began: float
    noted: bool = True
    id: str | None = None
    deadline: float | None = None
    before: tuple[str, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class TaskMemory:
    """
    The memory of one task instance for one kind of thing.

    An entry counts only for the same order and the same request. A retry is the same order. When a person clears the
    task it is a new one: Airflow raises ``max_tries`` then, and only then.

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
        # A clear raises max_tries by the tries that there were, so that this is the first try of the present order.
        is_retry = ti.try_number > self._order - int(ti.task.retries or 0) + 1
        self._began_blindly = _start_of(context) if durable and self._store is None and is_retry else None
        self._fingerprint = fingerprint(request)
        #: What a person has decided.
        self.decisions = Decisions(context)
        #: What the order before the clear began, once it was looked for.
        self.cleared_id: str | None = None

    def recall(self) -> Record | None:
        """What an earlier try of the same order left; None if there is nothing to go on with."""
        if self._began_blindly is not None:
            return Record(began=self._began_blindly, noted=False)
        stored = self._store.get(self._key) if self._store else None
        if not isinstance(stored, Mapping) or stored.get("version") != _VERSION:
            return None
        if stored.get("order") != self._order:
            log.info("The task was cleared: it begins anew and does not go on with %s.", self._named(stored))
            self.cleared_id = stored.get("id")
            return None
        if stored.get("fingerprint") != self._fingerprint:
            log.warning(
                "The task's arguments are not those of its earlier try: it begins anew and leaves %s alone, which may "
                "still be going on.",
                self._named(stored),
            )
            return None
        return Record(
            began=float(stored["began"]),
            id=stored.get("id"),
            deadline=stored.get("deadline"),
            before=None if stored.get("before") is None else tuple(stored["before"]),
            facts=stored.get("facts") or {},
        )

    def keep(self, record: Record) -> None:
        """
        Remember a record in place of the earlier one.

        :param record: What to remember. It must hold no secret: whoever may see the task may see it.
        """
        if self._store is not None:
            entry: dict[str, Any] = {
                **asdict(record),
                # The store takes what JSON has, and a tuple is nothing of that.
                "before": None if record.before is None else list(record.before),
                "version": _VERSION,
                "order": self._order,
                "fingerprint": self._fingerprint,
            }
            self._store.set(self._key, {name: value for name, value in entry.items() if value is not None})

    def note(self, record: Record) -> None:
        """
        Remember what has happened already; a fault of the store is logged and does not undo it.

        :param record: What to remember, with its id.
        """
        try:
            self.keep(record)
        except Exception:
            log.exception("Could not note %s %s: a retry would have to look for it.", self._kind, record.id)

    def decided(self) -> str | None:
        """
        The id that a person has named for this task and that it has not followed yet.

        :raises MosaicValidationError: The Variable can't be read as what it should be.
        """
        named = self.decisions.read()
        if named is not None and named in self._followed():
            log.warning(
                "The Airflow Variable %r names %s %r, which this task has taken up once already: it does not do so "
                "again. Delete the Variable.",
                self.decisions.variable,
                self._kind,
                named,
            )
            return None
        return named

    def follow(self, record: Record) -> None:
        """
        Remember what a person has named in place of what an earlier try left, and that it was followed.

        :param record: What to remember, with its id.
        """
        self.keep(record)
        if self._store is not None:
            self._store.set(self._followed_key, {"version": _VERSION, "ids": [*self._followed(), record.id]})
            return
        log.warning(
            "Nothing is kept for the next try, on this Airflow or with durable=False: delete the Variable %r when the "
            "task has ended, or a clear will take up %s %r once more.",
            self.decisions.variable,
            self._kind,
            record.id,
        )

    def forget(self) -> None:
        """Forget: nothing was begun."""
        if self._store is not None:
            self._store.delete(self._key)

    def _followed(self) -> list[str]:
        stored = self._store.get(self._followed_key) if self._store else None
        return list(stored["ids"]) if isinstance(stored, Mapping) and stored.get("version") == _VERSION else []

    def _named(self, stored: Mapping[str, Any]) -> str:
        return f"{self._kind} {stored['id']!r}" if stored.get("id") else f"the {self._kind} that it may have begun"


def remembers(context: Mapping[str, Any], *, durable: bool) -> bool:
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
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _unsigned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _unsigned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unsigned(item) for item in value]
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        parts = urlsplit(value)
        kept = [
            (name, item)
            for name, item in parse_qsl(parts.query, keep_blank_values=True)
            if not name.lower().startswith(("x-goog-", "x-amz-")) and name.lower() not in _SIGNING
        ]
        return urlunsplit(parts._replace(query=urlencode(kept)))
    return value
