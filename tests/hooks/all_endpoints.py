"""
One working day with Mosaic: every method of the hook once, in an order in which each finds what it needs.

A function here is called as the method that it is about, and looks at what matters in the answer. What it expects is
what the emulator *did*, as its own interface tells it: whatever shape the answer came in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from mosaic_emulator import Emulator

from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods

CAPTIONS = "cdccb204-168e-4aec-aa72-480b11e74324"
TODAY = datetime.now(timezone.utc)


@dataclass
class CallEnvironment:
    """
    What a day has come to.

    :param api: The hook's methods.
    :param mosaic: The emulator behind them.
    :param settings: Its switches.
    :param callback_url: Where webhooks are received.
    """

    api: EndpointMethods
    mosaic: Emulator
    settings: dict[str, Any]
    callback_url: str
    ids: dict[str, str] = field(default_factory=dict)

    def until(self, look: Callable[[], Any], good: Callable[[Any], object]) -> Any:
        """Look until it is good."""
        deadline = time.monotonic() + 15
        while not good(seen := look()):
            assert time.monotonic() < deadline, f"still not so: {seen}"
            time.sleep(0.002)
        return seen

    def run_of(self, name: str) -> dict[str, Any]:
        """What the emulator itself says of a run."""
        return next(run for run in self.mosaic.runs() if run["run_id"] == self.ids[name])


Act = Callable[[CallEnvironment], object]


def by_name(*acts: Act) -> dict[str, Act]:
    """Functions by their names, which are those of methods."""
    return {act.__name__: act for act in acts}
