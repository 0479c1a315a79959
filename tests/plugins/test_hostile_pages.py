"""Pages of runs and posts whose long texts and links would hold the event loop of the API server."""

from __future__ import annotations

import asyncio
import json
import time
import unicodedata
from typing import Any

import pytest
from clients.echoes import EchoingServer, http
from clients.servers import Seen

from airflow_provider_mosaic.api import redaction
from airflow_provider_mosaic.plugins.items import TaskKey, TaskRecord
from airflow_provider_mosaic.plugins.media import run_links
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.pages import TaskPage
from airflow_provider_mosaic.plugins.task_page import read_run, task_page
from airflow_provider_mosaic.tasks.reporting import TaskItem

pytestmark = pytest.mark.hostile

KEY = TaskKey(dag_id="d", run_id="r", task_id="t", map_index=-1)
MESSAGE = "<&#x41;%41\\u0041 https://a.example/x?b=c " * 250
LINK = f"https://storage.example.org/{'a/' * 4_000}"


class LongestTurn:
    """Measures the most seconds of a core for which the event loop did nothing else. A busy machine changes nothing."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def measure(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.01)
            self.seconds = max(self.seconds, time.thread_time() - before)


def page_of(item: TaskItem, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> TaskPage:
    """Return the page of a task, and check that building it did not hold the event loop."""

    def respond(seen: Seen) -> bytes:
        return http("200 OK", json.dumps(answers[seen.target.partition("?")[0]]).encode())

    async def steps() -> tuple[TaskPage, float]:
        reads, longest = MosaicReads(), LongestTurn()
        measuring = asyncio.ensure_future(longest.measure())
        task = TaskRecord(key=KEY, state="success", operator="MosaicRunAgentOperator", item=item)
        page = await task_page(reads, task, csrf_token=None)
        await asyncio.sleep(0.1)
        if item.kind == "run":
            run = (await read_run(reads, item, max_age=60)).value
            assert run is not None
            # For each thumbnail.
            started = time.thread_time()
            run_links(run)
            assert time.thread_time() - started < 0.3
        measuring.cancel()
        await reads.aclose()
        return page, longest.seconds

    with EchoingServer(respond) as server:
        connection = {"conn_type": "mosaic", "host": server.url, "password": "mk_hostile_pages"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        page, seconds = asyncio.run(steps())
    assert page.problem is None
    assert seconds < 0.8
    return page


def test_the_page_of_a_run_with_long_messages_and_links(monkeypatch: pytest.MonkeyPatch) -> None:
    # As many parts of signed links as a process remembers.
    monkeypatch.setattr(redaction, "_signed", tuple(f"0a1b2c3d4e5f{number:020}" for number in range(400)))
    outputs = [{"id": f"output-{number}", "video_url": f"{LINK}{number}.mp4"} for number in range(1_000)]
    nodes = [{"original_node_id": f"n{n}", "status": "failed", "errors": [MESSAGE]} for n in range(500)]
    answers = {
        "/agent_run/run-1": {"status": "failed", "outputs": outputs},
        "/agent_run/run-1/nodes": {"nodes": nodes},
    }
    item = TaskItem(kind="run", id="run-1", conn_id="mosaic_default")
    page = page_of(item, answers, monkeypatch)
    assert page.run is not None
    assert (len(page.run.tiles), len(page.run.outputs)) == (500, 1_000)


@pytest.mark.parametrize("kind", ["run", "asset"])
def test_the_page_of_an_item_whose_link_has_a_long_host(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    real = unicodedata.normalize

    def normalize(form: Any, text: str) -> str:
        lengths.append(len(text))
        # The whole host would take seconds.
        return real(form, text[:1_000])

    monkeypatch.setattr(unicodedata, "normalize", normalize)
    link = "https://" + "\u0301\u0316" * 40_000 + f"/{kind}.mp4"
    answers = {
        "/agent_run/item-1": {"status": "completed", "outputs": [{"id": "output-1", "video_url": link}]},
        "/agent_run/item-1/nodes": {"nodes": []},
        "/uploads/get_view_url": {"signed_url": link},
    }
    item = TaskItem.model_validate({"kind": kind, "id": "item-1", "conn_id": "mosaic_default", "asset_type": "video"})
    page = page_of(item, answers, monkeypatch)
    [media] = page.run.outputs if page.run else [page.asset]
    assert media is not None
    assert media.kind == "video"
    assert max(lengths, default=0) < 1_000


def test_the_page_of_a_post_with_odd_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    destinations = [{"platform": "x", "status": "posted", "message": MESSAGE[:1_000]}] * 900
    metrics = {"views": 10**400, "likes": -5, "shares": 7}
    answers = {
        "/social/post/post-1": {"post_id": "post-1", "status": "posted", "destinations": destinations},
        "/social/post/post-1/analytics": {"post_id": "post-1", "platforms": [{"platform": "x", "metrics": metrics}]},
    }
    page = page_of(TaskItem(kind="post", id="post-1", conn_id="mosaic_default"), answers, monkeypatch)
    assert page.post is not None
    assert page.post.destinations[0].metrics == {"likes": -5, "shares": 7}


def test_the_page_of_a_post_with_many_destinations_and_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {str(number): 1 for number in range(20_000)}
    answers = {
        "/social/post/post-1": {"post_id": "post-1", "status": "posted", "destinations": [{"platform": "x"}] * 20_000},
        "/social/post/post-1/analytics": {"post_id": "post-1", "platforms": [{"platform": "x", "metrics": metrics}]},
    }
    page = page_of(TaskItem(kind="post", id="post-1", conn_id="mosaic_default"), answers, monkeypatch)
    assert page.post is not None
    assert (len(page.post.destinations), len(page.post.destinations[0].metrics)) == (1_000, 100)
