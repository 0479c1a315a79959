"""What the emulator received and did, so that a test can say "one"."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Counts:
    """One reading of the emulator's counters since its start or its last reset."""

    #: Requests by ``"METHOD /path/{template}"``, on both hosts; what no route knows is ``"METHOD (no route)"``.
    requests: dict[str, int] = field(default_factory=dict)
    #: Runs that began to exist, by the API.
    runs_started: int = 0
    runs_resumed: int = 0
    runs_cancelled: int = 0
    #: Runs that a trigger began; they are not among ``runs_started``.
    runs_triggered: int = 0
    agents_created: int = 0
    #: Updates that changed anything, also those of which a later operation was refused.
    agents_updated: int = 0
    agents_deleted: int = 0
    agents_duplicated: int = 0
    #: Channels that a trigger newly watches, or watches instead of another; and those that none does any more.
    channels_added: int = 0
    channels_removed: int = 0
    avatars_created: int = 0
    #: Posts that began to exist, whatever became of them.
    posts_made: int = 0
    #: Posts that a PATCH changed, and posts or destinations that were deleted.
    posts_updated: int = 0
    posts_deleted: int = 0
    #: Links for connecting an account that were handed out, accounts that came of them, and those disconnected.
    connection_links: int = 0
    connections_added: int = 0
    connections_deleted: int = 0
    #: Money that moves: plans that were changed at once, checkouts that were opened, and those that were paid.
    plan_upgrades: int = 0
    checkouts_opened: int = 0
    checkouts_paid: int = 0
    #: Purchases of credits by the automatic top-up, and times that it was set.
    top_ups: int = 0
    settings_changed: int = 0
    uploads_started: int = 0
    #: Form posts whose bytes the storage host took in.
    uploads_stored: int = 0
    #: Uploads that became an asset; a repeated finalize does not count again.
    uploads_finalized: int = 0
    #: GETs of stored media that were answered with bytes to the last one asked for.
    downloads: int = 0
    #: Deliveries of webhooks that were tried, repeats included.
    webhooks_sent: int = 0
    #: Deliveries that got no 2xx.
    webhooks_failed: int = 0
    bytes_stored: int = 0
    bytes_served: int = 0
    #: Requests on the storage host that carried an API key or any other ``Authorization``.
    key_leaks: int = 0
    #: Injected faults that took place, by kind.
    faults_used: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        """Read what ``GET /_emulator/counts`` answers."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


class Counters:
    """The running counters; the API's event loop and the storage host's threads both write here."""

    _NAMES = tuple(each.name for each in fields(Counts) if each.name not in ("requests", "faults_used"))

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plain: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Add to one of the plain counters."""
        if name not in self._NAMES:
            raise KeyError(name)
        with self._lock:
            self._plain[name] += amount

    def request(self, method: str, template: str) -> None:
        """Count one received request."""
        with self._lock:
            self._requests[f"{method} {template}"] += 1

    def fault(self, kind: str) -> None:
        """Count one fault that took place."""
        with self._lock:
            self._faults[kind] += 1

    def reset(self) -> None:
        """Begin again at nothing."""
        with self._lock:
            self._plain.clear()
            self._requests.clear()
            self._faults.clear()

    def as_json(self) -> dict[str, Any]:
        """Return the counters as :class:`Counts` names them."""
        with self._lock:
            plain = {name: self._plain[name] for name in self._NAMES}
            return {**plain, "requests": dict(self._requests), "faults_used": dict(self._faults)}
