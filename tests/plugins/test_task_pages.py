"""The JSON of the page of a task instance, from Airflow's API server and the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.hooks.paths import get_source
from airflow_provider_mosaic.plugins.pages import TaskPage
from plugins.api_server import ApiServer, path_of, task_row
from plugins.runs import GENERATOR, TIKTOK, TWO_VERSIONS, YOUTUBE, ended_post, ended_run, held, item, start, uploaded

pytestmark = pytest.mark.airflow

VIDEO = "https://cdn.example.org/monday.mp4"


def page_of(server: ApiServer, task_id: str, *, user: str = "admin", **task: object) -> TaskPage:
    """Insert a task instance, and return its page."""
    row = task_row(task_id, **task)  # type: ignore[arg-type]
    server.seed([row])
    return TaskPage.model_validate(server.get(f"/mosaic/api/{path_of(row)}", user=user).json)


def test_a_running_run(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = held(mosaic, client)
    page = page_of(server, name, state="deferred", mosaic_item=item("run", run_id))
    assert page.run is not None
    assert (page.run.id, page.run.status, page.run.outcome, page.run.ended_at) == (run_id, "running", "pending", None)
    assert page.run.nodes.total == len(page.run.tiles) == 2
    assert (page.run.agent_id, page.run.agent_name) == (GENERATOR, "Generator")
    assert {tile.name for tile in page.run.tiles} == {"Video Generation", "Captions"}
    assert page.refresh_after == 5.0
    [action] = page.actions
    assert action.name == "cancel"
    assert "refund" in action.cost
    assert "fails without retries" in action.cost


def test_a_finished_run(server: ApiServer, client: SyncClient, name: str) -> None:
    run = ended_run(client, TWO_VERSIONS, video_urls=[VIDEO])
    page = page_of(server, name, mosaic_item=item("run", run.run_id))
    assert page.run is not None
    assert page.problem is None
    assert page.run.outcome == "success"
    assert page.run.ended_at is not None
    assert [output.id for output in page.run.outputs] == run.output_ids
    assert all(output.kind == "video" and output.url and output.thumbnail_url for output in page.run.outputs)
    assert len(page.run.inputs) == 1
    # Nothing changes any more.
    assert page.refresh_after is None
    assert page.actions == ()


def test_a_run_short_of_credits(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed", message="Not enough credits", needs_credits=True, failed=("Captions",))
    page = page_of(server, name, state="failed", mosaic_item=item("run", run_id))
    assert page.run is not None
    assert (page.run.outcome, page.run.needs_credits, page.run.status_message) == ("failed", True, "Not enough credits")
    assert (page.run.tiles[0].name, page.run.tiles[0].status) == ("Captions", "failed")
    [action] = page.actions
    assert action.name == "resume"
    assert "may charge credits" in action.cost
    assert "stays as it is" in action.cost


def test_a_run_that_ended_partly(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    mosaic.configure(failing_nodes={"Captions": "No speech was found"})
    run = ended_run(client, TWO_VERSIONS, video_urls=[VIDEO])
    page = page_of(server, name, state="failed", mosaic_item=item("run", run.run_id))
    assert page.run is not None
    assert page.run.outcome == "partial"
    assert page.run.tiles[0].message == "No speech was found"
    assert len(page.run.outputs) == 1
    # Mosaic does not resume such a run.
    assert page.actions == ()


def test_a_task_that_waits_decides_about_its_run(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str
) -> None:
    run_id = held(mosaic, client)
    mosaic.finish_run(run_id, status="failed")
    page = page_of(server, name, state="deferred", mosaic_item=item("run", run_id))
    assert page.actions == ()
    # A retry may resume the run.
    assert page.refresh_after == 10.0


def test_a_post_with_a_failed_destination(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    mosaic.configure(failing_platforms={"tiktok": "The video is too long"})
    post = ended_post(client, "Out now", YOUTUBE, TIKTOK)
    page = page_of(server, name, operator="MosaicSocialPostOperator", mosaic_item=item("post", post.post_id))
    assert page.post is not None
    assert (page.post.outcome, page.post.text) == ("partial", "Out now")
    failed, published = page.post.destinations
    assert (failed.platform, failed.status, failed.error) == ("tiktok", "failed", "The video is too long")
    assert published.url is not None
    assert published.metrics
    assert page.refresh_after is None


def test_an_upload(server: ApiServer, client: SyncClient, name: str, tmp_path: Path) -> None:
    file = tmp_path / "monday.mp4"
    file.write_bytes(b"not a video" * 100)
    asset_id = uploaded(client, get_source(file, client.access))
    page = page_of(
        server, name, operator="MosaicUploadOperator", mosaic_item=item("asset", asset_id, asset_type="video")
    )
    assert page.asset is not None
    assert (page.asset.id, page.asset.kind) == (asset_id, "video")
    redirect = server.get(f"/mosaic/{page.asset.url}")
    assert redirect.status == 307


@pytest.mark.parametrize(
    ("state", "operator", "kind", "refreshes"),
    [
        ("running", "MosaicRunAgentOperator", "not_started", True),
        ("failed", "MosaicRunAgentOperator", "not_started", False),
        ("success", "BashOperator", "not_ours", False),
    ],
)
def test_a_task_without_an_item(
    server: ApiServer, name: str, state: str, operator: str, kind: str, refreshes: bool
) -> None:
    page = page_of(server, name, state=state, operator=operator)
    assert page.problem is not None
    assert (page.kind, page.problem.kind) == ("none", kind)
    assert (page.refresh_after is not None) is refreshes


def test_a_run_that_mosaic_does_not_know(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = start(client)
    mosaic.forget_run(run_id)
    page = page_of(server, name, mosaic_item=item("run", run_id))
    assert page.run is None
    assert page.problem is not None
    assert page.problem.kind == "not_found"
    assert page.actions == ()


def test_a_missing_connection(server: ApiServer, name: str) -> None:
    page = page_of(server, name, mosaic_item=item("run", "a-run", conn_id="missing"))
    assert page.problem is not None
    assert page.problem.kind == "no_access"
    assert "missing" in page.problem.message


def test_a_connection_in_the_database(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    server.add_connection("saved_in_the_ui", mosaic.url, mosaic.api_key)
    page = page_of(server, name, mosaic_item=item("run", start(client), conn_id="saved_in_the_ui"))
    assert page.problem is None
    assert page.run is not None


def test_a_key_without_the_scope(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run_id = start(client)
    mosaic.inject("forbidden", path="/agent_run/{run_id}")
    page = page_of(server, name, mosaic_item=item("run", run_id))
    assert page.problem is not None
    assert page.problem.kind == "no_access"


def test_a_key_that_may_not_read_agents(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    mosaic.inject("forbidden", path="/agents", times=None)
    # With this connection, no other test has read the names.
    page = page_of(server, name, mosaic_item=item("run", start(client), conn_id="mosaic_unnamed"))
    assert page.problem is None
    assert page.run is not None
    assert (page.run.agent_id, page.run.agent_name) == (GENERATOR, None)


def test_an_item_of_another_version_is_no_item(server: ApiServer, name: str) -> None:
    page = page_of(server, name, mosaic_item={"version": 2, "kind": "run", "id": "x", "conn_id": "mosaic_default"})
    assert page.kind == "none"


def test_mapped_tasks_have_pages_of_their_own(server: ApiServer, client: SyncClient, name: str) -> None:
    runs = [ended_run(client).run_id for _ in range(2)]
    rows = [task_row(name, map_index=index, mosaic_item=item("run", run_id)) for index, run_id in enumerate(runs)]
    server.seed(rows)
    for row, run_id in zip(rows, runs, strict=True):
        assert server.get(f"/mosaic/api/{path_of(row)}").json["run"]["id"] == run_id


def test_the_placeholder_of_a_task_that_is_not_mapped(server: ApiServer, client: SyncClient, name: str) -> None:
    """Airflow's UI leaves ``{MAP_INDEX}`` as it is."""
    row = task_row(name, mosaic_item=item("run", ended_run(client).run_id))
    server.seed([row])
    path = path_of(row).removesuffix("-1") + "%7BMAP_INDEX%7D"
    assert server.get(f"/mosaic/api/{path}").json["map_index"] == -1
