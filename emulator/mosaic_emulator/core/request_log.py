"""The log of received requests."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

#: Headers whose values the log keeps; of all others only the names.
SELECTED: Final = frozenset(
    {
        "user-agent",
        "content-type",
        "content-length",
        "transfer-encoding",
        "accept",
        "accept-encoding",
        "range",
        "if-range",
        "x-workspace-id",
        "connection",
        "expect",
        "host",
    }
)


@dataclass
class ReceivedRequest:
    """One request, as it came in and as it was answered."""

    host: str
    method: str
    path: str
    template: str
    query: str
    header_names: list[str]
    headers: dict[str, str]
    authorization: bool
    time: float = field(default_factory=time.time)
    #: The parsed JSON body, when it was one.
    body: Any = None
    #: Names of the form's fields in the order received (storage host).
    form_fields: list[str] | None = None
    #: Status of the answer, or none when there was no answer.
    status: int | None = None
    fault: str | None = None
    seconds: float | None = None

    def finish(self, status: int | None) -> None:
        """Note how the request was answered."""
        self.status = status
        self.seconds = time.time() - self.time


def log_entry(
    *, host: str, method: str, path: str, template: str, query: str, headers: Iterable[tuple[str, str]]
) -> ReceivedRequest:
    """Make the entry of a request that has just come in."""
    pairs = [(name.lower(), value) for name, value in headers]
    return ReceivedRequest(
        host=host,
        method=method,
        path=path,
        template=template,
        query=query,
        header_names=[name for name, _ in pairs],
        headers={name: value for name, value in pairs if name in SELECTED},
        authorization=any(name in ("authorization", "x-api-key") for name, _ in pairs),
    )


class RequestLog:
    """The last requests, oldest first."""

    def __init__(self, *, length: int) -> None:
        self._lock = threading.Lock()
        self._entries: deque[ReceivedRequest] = deque(maxlen=length)

    def add(self, entry: ReceivedRequest) -> None:
        """Add a request; its entry is completed while it is worked on."""
        with self._lock:
            self._entries.append(entry)

    def reset(self, length: int) -> None:
        """Begin an empty log."""
        with self._lock:
            self._entries = deque(maxlen=length)

    def latest(self, limit: int) -> list[ReceivedRequest]:
        """Return the last requests, newest first."""
        with self._lock:
            return list(itertools.islice(reversed(self._entries), limit))

    def as_json(self) -> list[dict[str, Any]]:
        """Write the log."""
        with self._lock:
            return [asdict(entry) for entry in self._entries]
