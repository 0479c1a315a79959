"""How many requests to Mosaic the viewers of a page cause."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.plugins import mosaic_reads
from airflow_provider_mosaic.plugins.items import TaskKey, TaskRecord
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.task_page import task_page
from airflow_provider_mosaic.tasks.reporting import TaskItem
from plugins.runs import held

KEY = TaskKey(dag_id="d", run_id="r", task_id="t", map_index=-1)


@pytest.mark.parametrize("viewers", [1, 50])
def test_requests_of_a_minute(
    mosaic: Emulator, client: SyncClient, monkeypatch: pytest.MonkeyPatch, viewers: int, evidence: Counter[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", mosaic.airflow_connection())
    now = 0.0
    monkeypatch.setattr(mosaic_reads, "time", SimpleNamespace(monotonic=lambda: now))
    item = TaskItem(kind="run", id=held(mosaic, client), conn_id="mosaic_default")
    task = TaskRecord(key=KEY, state="deferred", operator="MosaicRunAgentOperator", item=item)

    async def minute() -> None:
        nonlocal now
        reads = MosaicReads()
        while now < 60:
            pages = await asyncio.gather(*(task_page(reads, task, csrf_token="x") for _ in range(viewers)))
            assert all(page.run is not None and page.refresh_after == 5.0 for page in pages)
            now += 5.0
        await reads.aclose()

    before = sum(mosaic.counts().requests.values())
    asyncio.run(minute())
    requests = sum(mosaic.counts().requests.values()) - before
    # Twelve reads of the run. The nodes once, because their counts do not change. The names of agents once.
    assert requests == 14
    evidence[f"requests to Mosaic a minute for {viewers} viewer(s) of a running run"] += requests
