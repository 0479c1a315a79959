"""Faults on request: the kinds, and which requests they apply to."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Any, Final

LISTS: Final = (
    "/agents",
    "/agent/{}/runs",
    "/agent_runs",
    "/trigger/{}/runs",
    "/pipeline_runs",
    "/agent_run/{}/progress",
    "/agent_run/{}/tasks",
    "/agent_run/{}/notifications",
    "/agent_run/{}/notification_configurations",
    "/storage_triggers",
    "/storage_trigger/{}/folders",
    "/storage_trigger/{}/events",
    "/storage_batches",
    "/storage_batch/{}/items",
    "/social/posts",
    "/social/post/{}/comments",
)
MEDIA: Final = ("/mosaic-emulator-media/{}",)


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault: its options, and the requests that it can apply to."""

    options: frozenset[str]
    #: Path templates that the fault is limited to; empty for no limit.
    only: tuple[str, ...] = ()
    method: str | None = None


def _fault_kind(*options: str, only: tuple[str, ...] = (), method: str | None = None) -> FaultKind:
    return FaultKind(frozenset(options), only, method)


KINDS: Final[dict[str, FaultKind]] = {
    "response_lost": _fault_kind(),
    "hang": _fault_kind("when", "seconds"),
    "reset": _fault_kind("when", "after_bytes"),
    "rate_limit": _fault_kind("retry_after"),
    "server_error": _fault_kind("status", "body", "effect", "effect_after", "retry_after"),
    "truncated_json": _fault_kind("how"),
    "empty": _fault_kind("status"),
    "html": _fault_kind("effect"),
    "refusal": _fault_kind("effect", "error"),
    "unknown_status": _fault_kind("status"),
    "not_found": _fault_kind(),
    "unauthorized": _fault_kind(),
    "forbidden": _fault_kind(),
    "finalize_lag": _fault_kind(only=("/uploads/{}/finalize_upload",)),
    "expired_link": _fault_kind("status", only=MEDIA),
    "expired_form": _fault_kind(only=("/mosaic-emulator-uploads/",)),
    "slow_body": _fault_kind("seconds", "pieces"),
    "cut_body": _fault_kind("fraction", "reset", only=MEDIA, method="GET"),
    "redirect": _fault_kind("status", "location"),
    "duplicate_page": _fault_kind(only=LISTS, method="GET"),
    "repeated_cursor": _fault_kind(only=LISTS, method="GET"),
}


def normalize_template(template: str) -> str:
    """Remove the parameter names from a path template."""
    return re.sub(r"\{[^{}]*\}", "{}", template)


@dataclass
class Fault:
    """An injected fault. ``times`` and ``skip`` count down."""

    kind: str
    method: str = "*"
    path: str = "*"
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

    def option(self, name: str, default: Any = None) -> Any:
        """Return an option of the fault."""
        return self.options.get(name, default)

    def retry_after(self, now: datetime) -> dict[str, str]:
        """Return the header ``Retry-After``: seconds, or an HTTP date for ``{"date": seconds}``."""
        value = self.option("retry_after")
        if isinstance(value, dict):
            value = format_datetime(now + timedelta(seconds=value["date"]), usegmt=True)
        return {} if value is None else {"Retry-After": str(value)}

    def matches(self, method: str, path: str, template: str) -> bool:
        """Return whether the fault applies to a request."""
        kind = KINDS[self.kind]
        if self.method not in ("*", method) or (kind.method and method != kind.method):
            return False
        normalized = normalize_template(template)
        if kind.only and normalized not in kind.only:
            return False
        return self.path == "*" or normalize_template(self.path) == normalized or fnmatchcase(path, self.path)


class FaultQueue:
    """The injected faults in order. At most one applies to a request. Thread-safe."""

    def __init__(self, *, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = random.Random(seed)

    def inject(self, fault: Fault) -> None:
        """
        Add a fault.

        :raises ValueError: If the kind or an option is unknown.
        """
        kind = KINDS.get(fault.kind)
        if kind is None:
            raise ValueError(f"There is no fault {fault.kind!r}. Use one of: {', '.join(sorted(KINDS))}.")
        unknown = set(fault.options) - kind.options
        if unknown:
            known = ", ".join(sorted(kind.options)) or "none"
            raise ValueError(
                f"The fault {fault.kind!r} has no option {', '.join(sorted(unknown))}. Its options: {known}."
            )
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that can still occur, in the order of their injection."""
        with self._lock:
            return [replace(each) for each in self._faults]

    def reseed(self, seed: int) -> None:
        """Restart the random sequence of probabilities."""
        self._random.seed(seed)

    def take(self, method: str, path: str, template: str) -> Fault | None:
        """Return the fault that applies to a request, and count it down."""
        with self._lock:
            for fault in self._faults:
                if not fault.matches(method, path, template):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.probability < 1.0 and self._random.random() >= fault.probability:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None
