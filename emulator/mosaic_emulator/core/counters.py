"""Counters of received requests and their effects."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A snapshot of the emulator's counters since its start or last reset."""

    #: Requests by ``"METHOD /path/{template}"`` on both hosts; ``"METHOD (no route)"`` for unknown paths.
    requests: dict[str, int] = field(default_factory=dict)
    #: Runs started by the API.
    runs_started: int = 0
    runs_resumed: int = 0
    runs_cancelled: int = 0
    #: Runs started by a trigger; not included in ``runs_started``.
    runs_triggered: int = 0
    agents_created: int = 0
    #: Updates that changed anything, even if a later operation was rejected.
    agents_updated: int = 0
    agents_deleted: int = 0
    agents_duplicated: int = 0
    #: Channels added to a trigger (or moved from another trigger), and channels removed.
    channels_added: int = 0
    channels_removed: int = 0
    avatars_created: int = 0
    #: Posts created, in any status.
    posts_made: int = 0
    #: Posts changed by a PATCH, and deletions of posts or single destinations.
    posts_updated: int = 0
    posts_deleted: int = 0
    #: Links for connecting an account that were created, connections made with them, and connections deleted.
    connection_links: int = 0
    connections_added: int = 0
    connections_deleted: int = 0
    #: Plans changed immediately, checkouts opened, and checkouts paid.
    plan_upgrades: int = 0
    checkouts_opened: int = 0
    checkouts_paid: int = 0
    #: Purchases by the automatic top-up, and changes of its settings.
    top_ups: int = 0
    settings_changed: int = 0
    uploads_started: int = 0
    #: Forms whose file the storage host stored.
    uploads_stored: int = 0
    #: Uploads that became an asset; a repeated finalize is not counted.
    uploads_finalized: int = 0
    #: GETs of stored media that were answered completely.
    downloads: int = 0
    #: Attempted webhook deliveries, including retries.
    webhooks_sent: int = 0
    #: Webhook deliveries without a 2xx response.
    webhooks_failed: int = 0
    bytes_stored: int = 0
    bytes_served: int = 0
    #: Requests to the storage host with an API key or any other ``Authorization``.
    key_leaks: int = 0
    #: Injected faults that occurred, by kind.
    faults_used: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        """Parse the response of ``GET /_emulator/counts``."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


class Counters:
    """The running counters. Thread-safe: the API's event loop and the storage host's threads use them."""

    _NAMES = tuple(each.name for each in fields(Counts) if each.name not in ("requests", "faults_used"))

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plain: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        if name not in self._NAMES:
            raise KeyError(name)
        with self._lock:
            self._plain[name] += amount

    def request(self, method: str, template: str) -> None:
        """Count a received request."""
        with self._lock:
            self._requests[f"{method} {template}"] += 1

    def fault(self, kind: str) -> None:
        """Count a fault that occurred."""
        with self._lock:
            self._faults[kind] += 1

    def reset(self) -> None:
        """Set all counters to zero."""
        with self._lock:
            self._plain.clear()
            self._requests.clear()
            self._faults.clear()

    def as_json(self) -> dict[str, Any]:
        """Return the counters with the names of :class:`Counts`."""
        with self._lock:
            plain = {name: self._plain[name] for name in self._NAMES}
            return {**plain, "requests": dict(self._requests), "faults_used": dict(self._faults)}
