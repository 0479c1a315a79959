"""Runs, posts and assets in the emulator, as the tests of the pages need them."""

from __future__ import annotations

from typing import Any

from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.processes import poll

from airflow_provider_mosaic.api.endpoints.assets import finalize_upload
from airflow_provider_mosaic.api.endpoints.posts import Post, create_post, get_post
from airflow_provider_mosaic.api.endpoints.runs import Run, get_run, start_run
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.outcomes import post_outcome, run_outcome
from airflow_provider_mosaic.clients.sources import Source
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.clients.upload import store

#: The emulator's agents: one without inputs, and one whose outputs come from two tiles.
GENERATOR = "a0000000-0000-4000-8000-000000000004"
TWO_VERSIONS = "a0000000-0000-4000-8000-000000000002"
YOUTUBE = "c0000000-0000-4000-8000-000000000001"
TIKTOK = "c0000000-0000-4000-8000-000000000002"


def start(client: SyncClient, agent_id: str = GENERATOR, **inputs: Any) -> str:
    """Start a run and return its id."""
    return client.send(start_run(agent_id, **inputs))


def ended_run(client: SyncClient, agent_id: str = GENERATOR, **inputs: Any) -> Run:
    """Start a run and return it when it has ended."""
    run_id = start(client, agent_id, **inputs)

    def ended() -> Run | None:
        run = client.send(get_run(run_id))
        return run if run_outcome(run).ended else None

    found = poll(ended, timeout=30, what="the run ends")
    assert isinstance(found, Run)
    return found


def ended_post(client: SyncClient, text: str, *connections: str) -> Post:
    """Publish a post and return it when it has ended."""
    post_id = client.send(create_post(text, social_connection_ids=connections)).post_id

    def ended() -> Post | None:
        post = client.send(get_post(post_id))
        return post if post_outcome(post).ended else None

    found = poll(ended, timeout=30, what="the post ends")
    assert isinstance(found, Post)
    return found


def uploaded(client: SyncClient, source: Source) -> str:
    """Upload a video and return the id of the asset."""
    asset_id = store(client, source, AssetType.VIDEO, "video/mp4")
    return str(client.send(finalize_upload(AssetType.VIDEO, asset_id)))


def item(kind: str, id: str, *, conn_id: str = "mosaic_default", **more: str) -> dict[str, Any]:
    """Return the XCom that a task pushes."""
    return {"version": 1, "kind": kind, "id": id, "conn_id": conn_id, **more}


def held(mosaic: Emulator, client: SyncClient) -> str:
    """Start a run that stays running, and return its id."""
    mosaic.configure(hold_runs=True)
    return start(client)
