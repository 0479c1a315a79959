"""Lists without an end in a triggerer: the watch logs it, waits end, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tasks.fixtures import AGENT, run_bounded
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic.api.paging import MAX_IDLE_PAGES
from airflow_provider_mosaic.triggers import run_watcher

from .test_poller import start_waits
from .watch import Watching, ended

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("quick_handover")]


class Endless(OtherMosaic):
    """A Mosaic whose lists have no end while ``endless`` is set, and which knows one run."""

    def __init__(self) -> None:
        super().__init__()
        self.endless = True
        self.status = "running"
        self._numbers = itertools.count()
        self.others = 0

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        self.requests.append(target)
        path = target.partition("?")[0]
        if not path.endswith("runs"):
            return 200, {"status": self.status}
        rows = [{"run_id": "r0", "status": self.status}] if not self.endless else []
        number = next(self._numbers)
        rows += [{"run_id": f"other-{number}-{i}", "status": "running"} for i in range(self.others)]
        return 200, {"runs": rows, "next_cursor": f"c{number}" if self.endless else None}

    def lists(self) -> int:
        return sum("runs" in target for target in self.requests)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endless]:
    with serving(Endless()) as endless:
        connection = {"conn_type": "mosaic", "host": endless.url, "password": "mk_here"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        yield endless  # type: ignore[misc]


@pytest.mark.parametrize(
    ("others", "is_endless", "pages", "words"),
    [
        (0, True, MAX_IDLE_PAGES, "pages in a row without a new item"),
        (1, True, 1, "has more pages after 0 s"),
        (5, False, 1, "has ids with more than 20 characters"),
    ],
    ids=["empty pages", "slow pages", "long ids"],
)
def test_a_watch_logs_that_the_list_has_no_end_and_misses_nothing(
    endless: Endless,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    others: int,
    is_endless: bool,
    pages: int,
    words: str,
) -> None:
    if others:
        monkeypatch.setattr(run_watcher, "_MAX_LIST_SECONDS", 0.0)
        monkeypatch.setattr(run_watcher, "MAX_ID_CHARACTERS", 20)

    async def scenario() -> list[dict[str, Any]]:
        endless.endless = False
        async with Watching() as watching:
            await watching.until(lambda: endless.lists() > 4)
            endless.endless, endless.others = is_endless, others
            before = endless.lists()
            await watching.until(lambda: endless.lists() > before + 3 * pages)
            endless.status, endless.endless, endless.others = "completed", False, 0
            await watching.until(lambda: watching.events)
            return watching.events

    with caplog.at_level(logging.INFO):
        assert run_bounded(scenario()) == [{"runs": [ended("r0")]}]
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"The runs of agent '{AGENT}' could not be read" in line
    assert words in line


@pytest.mark.parametrize("others", [0, 100], ids=["empty pages", "pages of other runs"])
def test_waits_end_although_the_list_has_no_end(endless: Endless, others: int) -> None:
    endless.others = others

    async def scenario() -> None:
        waits = start_waits(10)
        while not endless.lists():
            await asyncio.sleep(0.01)
        endless.status = "completed"
        events = [await wait for wait in waits]
        assert {event.payload["status"] for event in events} == {"completed"}

    run_bounded(scenario(), 60)
    # A page for each run at most; then the runs are polled one by one.
    assert endless.lists() < 100
