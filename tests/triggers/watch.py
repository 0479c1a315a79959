"""A MosaicRunFinishedTrigger that runs in the background, and the asset state stores of Airflow."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import through_airflow
from tasks.fixtures import AGENT, sent

from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger, run_watcher

LIST = "/agent/{agent_id}/runs"
GET_RUN = "/agent_run/{run_id}"
#: The emulator's agent with two branches; it takes an input.
OTHER_AGENT = "a0000000-0000-4000-8000-000000000002"


class AssetStore:
    """An asset's state store as in Airflow 3.3. It survives the trigger."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.broken_gets = self.broken_sets = 0
        self.sets = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.broken_gets:
            self.broken_gets -= 1
            raise RuntimeError("the API server is away")
        return json.loads(self.texts[key]) if key in self.texts else default

    async def aset(self, key: str, value: Any) -> None:
        if self.broken_sets:
            self.broken_sets -= 1
            raise RuntimeError("the API server is away")
        self.sets += 1
        self.texts[key] = json.dumps(value, allow_nan=False)


class SeveralAssets:
    """The store of a trigger that several assets share."""

    async def aget(self, key: str, default: Any = None) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")

    async def aset(self, key: str, value: Any) -> None:
        raise AssertionError("nothing can be stored")


class Watching:
    """Run a trigger in the background. Leaving the context kills it."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.trigger = MosaicRunFinishedTrigger(**{"agent_id": AGENT, "poll_interval": 0.05, **options})
        self.trigger.asset_state_store = store
        self.events: list[dict[str, Any]] = []
        #: The monotonic time of each event.
        self.times: list[float] = []

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs of all events."""
        return [run for event in self.events for run in event["runs"]]

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self._collect())
        return self

    async def _collect(self) -> None:
        async for event in self.trigger.run():
            self.events.append(through_airflow(event.payload))
            self.times.append(time.monotonic())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task

    async def until(self, condition: Callable[[], Any]) -> Any:
        async def check() -> Any:
            while not (result := await asyncio.to_thread(condition)):
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)
            return result

        return await asyncio.wait_for(check(), 60)

    async def complete_poll(self, mosaic: Emulator) -> None:
        """Wait until a poll has started and ended after this call."""
        before = sent(mosaic, "GET " + LIST)
        await self.until(lambda: sent(mosaic, "GET " + LIST) >= before + 4)


@pytest.fixture
def quick_handover(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses after an event."""
    monkeypatch.setattr(run_watcher, "_HANDOVER", 0.05)
    monkeypatch.setattr(run_watcher, "_EVENT_INTERVAL", 0.05)


@pytest.fixture
def held(mosaic: Emulator) -> Emulator:
    """Return an emulator whose runs end only on request."""
    mosaic.configure(hold_runs=True)
    return mosaic


def ended(run_id: str, status: str = "completed") -> dict[str, str]:
    """Return a run of the agent as in the payload of an event."""
    return {"run_id": run_id, "agent_id": AGENT, "status": status}
