"""The log of received requests, without keys and signatures."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

#: Headers whose values are logged. Of all others only the names are.
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

#: Query parameters of signed URLs, whose values are masked.
_SIGNED: Final = re.compile(r"(?i)((?:\bx-(?:goog|amz)-[a-z-]+|\b(?:signature|sig|token))=)[^&\s\"']+")
MASK: Final = "***"


def mask_signatures(value: Any) -> Any:
    """Mask the parameters of signed URLs in a query or a JSON value."""
    if isinstance(value, str):
        return _SIGNED.sub(rf"\1{MASK}", value)
    if isinstance(value, list):
        return [mask_signatures(each) for each in value]
    if isinstance(value, dict):
        return {name: mask_signatures(each) for name, each in value.items()}
    return value


@dataclass
class ReceivedRequest:
    """A received request and the status of its response."""

    host: str
    method: str
    path: str
    template: str
    query: str
    header_names: list[str]
    headers: dict[str, str]
    authorization: bool
    time: float = field(default_factory=time.time)
    #: The parsed body, if it is JSON.
    body: Any = None
    #: Names of the form fields in the order received (storage host).
    form_fields: list[str] | None = None
    #: Status of the response, or None if there was no response.
    status: int | None = None
    fault: str | None = None
    seconds: float | None = None

    def finish(self, status: int | None) -> None:
        """Record the status and the duration."""
        self.status = status
        self.seconds = time.time() - self.time


def log_entry(
    *, host: str, method: str, path: str, template: str, query: str, headers: Iterable[tuple[str, str]]
) -> ReceivedRequest:
    """Create the log entry of a request."""
    pairs = [(name.lower(), value) for name, value in headers]
    return ReceivedRequest(
        host=host,
        method=method,
        path=path,
        template=template,
        query=mask_signatures(query),
        header_names=[name for name, _ in pairs],
        headers={name: value for name, value in pairs if name in SELECTED},
        authorization=any(name in ("authorization", "x-api-key") for name, _ in pairs),
    )


class RequestLog:
    """The latest requests, oldest first."""

    def __init__(self, *, length: int) -> None:
        self._lock = threading.Lock()
        self._entries: deque[ReceivedRequest] = deque(maxlen=length)

    def add(self, entry: ReceivedRequest) -> None:
        """Add a request. The caller completes the entry later."""
        with self._lock:
            self._entries.append(entry)

    def reset(self, length: int) -> None:
        """Clear the log."""
        with self._lock:
            self._entries = deque(maxlen=length)

    def latest(self, limit: int) -> list[ReceivedRequest]:
        """Return the latest requests, newest first."""
        with self._lock:
            return list(itertools.islice(reversed(self._entries), limit))

    def as_json(self) -> list[dict[str, Any]]:
        """Return all entries."""
        with self._lock:
            return [asdict(entry) for entry in self._entries]
