"""The media of a page: each request is redirected to a signed link."""

from __future__ import annotations

import time
from urllib.request import urlopen

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.clients.sync_client import SyncClient
from plugins.api_server import ApiServer, path_of, task_row
from plugins.runs import ended_run, item

pytestmark = pytest.mark.airflow

READ = "GET /agent_run/{run_id}"


def test_an_output_can_be_opened(server: ApiServer, client: SyncClient, name: str) -> None:
    run = ended_run(client)
    row = task_row(name, mosaic_item=item("run", run.run_id))
    server.seed([row])
    for media_id in (run.output_ids[0], "first"):
        redirect = server.get(f"/mosaic/media/{path_of(row)}/{media_id}")
        assert redirect.status == 307
        assert redirect.headers["cache-control"] == "no-store"
        assert redirect.headers["referrer-policy"] == "no-referrer"
        with urlopen(redirect.headers["location"]) as response:
            assert response.status == 200


def test_an_expired_link_is_renewed(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run = ended_run(client)
    row = task_row(name, mosaic_item=item("run", run.run_id))
    server.seed([row])
    path = f"/mosaic/media/{path_of(row)}/{run.output_ids[0]}"
    server.get(path)
    mosaic.expire_links()
    # Links that are younger than a second are used again.
    time.sleep(1.1)
    with urlopen(server.get(f"{path}?renew=1").headers["location"]) as response:
        assert response.status == 200


def test_many_thumbnails_cost_one_request(server: ApiServer, mosaic: Emulator, client: SyncClient, name: str) -> None:
    run = ended_run(client)
    row = task_row(name, mosaic_item=item("run", run.run_id))
    server.seed([row])
    before = mosaic.counts().requests[READ]
    for _ in range(20):
        server.get(f"/mosaic/media/{path_of(row)}/{run.output_ids[0]}/thumbnail")
    assert mosaic.counts().requests[READ] == before + 1


def test_media_of_another_task_are_not_found(server: ApiServer, client: SyncClient, name: str) -> None:
    run, other = ended_run(client), ended_run(client)
    row = task_row(name, mosaic_item=item("run", run.run_id))
    post = task_row(f"{name}_post", mosaic_item=item("post", "a-post"))
    bare = task_row(f"{name}_bare")
    server.seed([row, post, bare])
    for path in (
        f"{path_of(row)}/{other.output_ids[0]}",
        f"{path_of(row)}/{other.run_id}",
        f"{path_of(row)}/input-99",
        f"{path_of(row)}/{run.output_ids[0]}/premiere",
        f"{path_of(post)}/first",
        f"{path_of(bare)}/first",
    ):
        response = server.get(f"/mosaic/media/{path}")
        assert response.status == 404, path
        assert other.output_ids[0].encode() not in response.body
    assert server.get(f"/mosaic/media/{path_of(row)}/{run.output_ids[0]}/other").status == 422
