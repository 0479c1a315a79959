"""
Call every method of the hook once, in an order in which each finds what it needs.

Each function in :mod:`hooks.endpoint_calls` has the name of a method, calls it, and checks the result against the state
of the emulator. The result must not depend on the shape of the responses.
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
    What the calls share.

    :param api: The hook.
    :param mosaic: The emulator.
    :param settings: The emulator's settings.
    :param callback_url: The URL of a webhook receiver.
    :param ids: Ids from earlier calls, by name.
    """

    api: EndpointMethods
    mosaic: Emulator
    settings: dict[str, Any]
    callback_url: str
    ids: dict[str, str] = field(default_factory=dict)

    def wait_until(self, read: Callable[[], Any], is_done: Callable[[Any], object]) -> Any:
        """Read a value until it is done, and return it."""
        deadline = time.monotonic() + 60
        while not is_done(value := read()):
            assert time.monotonic() < deadline, f"timeout, last value: {value}"
            time.sleep(0.002)
        return value

    def emulator_run(self, name: str) -> dict[str, Any]:
        """Return a run as the emulator has it."""
        return next(run for run in self.mosaic.runs() if run["run_id"] == self.ids[name])


EndpointCall = Callable[[CallEnvironment], object]


def by_name(*calls: EndpointCall) -> dict[str, EndpointCall]:
    """Return calls by the names of their methods."""
    return {call.__name__: call for call in calls}
