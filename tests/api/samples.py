"""A call and the documented response of each endpoint for runs, assets and posts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints import account, agents, assets, posts, runs, social_connections
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.paging import Listing

AGENT = "0b0a6d4e-5a51-4f0d-8a6c-3d1f6d0a9c77"
RUN = "3c9a4c0e-1b62-4b4b-8f3e-90f0a7a1e6d2"
NODE = "c2d9b6a0-0b84-4e3b-9a49-7f3a2ce1d4b8"
OUTPUT = "91d5e2c7-7f1b-4d1d-8c5a-6a0f5e3b2c44"
POST = "a3f2c1d0-7777-4c1e-9d0b-5b8e2f4a6c90"
ACCOUNT = "1d6c0f52-8a4e-4b0c-b0ad-2c6f0f1f9e21"
CAPTIONS = "cdccb204-168e-4aec-aa72-480b11e74324"

NODE_TYPE = {
    "node_type_id": CAPTIONS,
    "node_type_name": "Captions",
    "docs_url": "https://docs.example/tiles/captions",
    "params_docs_url": None,
}
OUTPUT_RESPONSE = {
    "id": OUTPUT,
    "video_url": "https://storage.example/out.mp4?sig=hush",
    "thumbnail_url": None,
    "premiere_prproj_url": "https://storage.example/out.zip?sig=hush",
    "sources": [{"provider": "getty", "media_type": "image", "provider_asset_id": "1200034"}],
    "completed_at": "2026-07-01T10:06:10Z",
    "original_node_id": NODE,
}
RUN_RESPONSE = {
    "agent_id": AGENT,
    "started_at": "2026-07-01T10:00:00Z",
    "status": "partial_complete",
    "status_message": "1 of 2 branches failed",
    "needs_credits": False,
    "errors": [{"original_node_id": NODE, "messages": ["Music generation timed out"]}],
    "node_status_counts": {"completed": 3, "in_progress": 0, "failed": 1},
    "inputs": [{"video_url": "https://storage.example/in.mp4?sig=hush", "thumbnail_url": None}],
    "outputs": [OUTPUT_RESPONSE],
}
RUN_ROW = {
    **{name: value for name, value in RUN_RESPONSE.items() if name not in ("needs_credits", "errors")},
    "run_id": RUN,
    "updated_at": "2026-07-01T10:07:00Z",
    "triggered_by": {"trigger_id": "77e0a7a8-0f6e-4f57-9a4b-b5d1c0d2e3f4"},
}
ACCOUNT_ROW = {
    "social_connection_id": ACCOUNT,
    "platform": "youtube",
    "account_name": "Northlight",
    "account_username": "northlightfilms",
    "profile_url": "https://www.youtube.com/@northlightfilms",
}
POST_RESPONSE = {
    "post_id": POST,
    "status": "scheduled",
    "description": "Premiere tonight",
    "thumbnail_url": "https://cdn.example.org/cut7.jpg",
    "scheduled_at": "2026-09-01T17:00:00Z",
    "platforms": ["youtube"],
    "destinations": [ACCOUNT_ROW],
}


@dataclass(frozen=True)
class Sample:
    """
    A call and its documented response.

    :param call: For a list, the call for its first page.
    :param answer: The documented response.
    :param needed: Required fields, as dotted paths.
    :param nameless: Whether the name of the list in the response is not documented.
    """

    call: Call[Any]
    answer: Any
    needed: tuple[str, ...] = ()
    nameless: bool = False


def _first(listing: Listing[Any]) -> Call[Any]:
    return listing.page(None)


#: By function name; several samples of one function have a suffix after a colon.
CORE_SAMPLES: dict[str, Sample] = {
    "whoami": Sample(
        account.whoami(),
        {
            "organization_id": "5f0c1f5e-2b7e-4a52-9d55-0a7a3d7c1b10",
            "organization_name": "Northwind Films",
            "organization_slug": "northwind-films",
            "created_at": "2026-05-02T10:11:12Z",
            "last_used_at": None,
            "scopes": ["agents:read"],
        },
    ),
    "list_agents": Sample(
        _first(agents.list_agents()),
        {
            "agents": [
                {
                    "id": AGENT,
                    "name": "Shorts maker",
                    "description": None,
                    "created_at": "2026-06-01T09:00:00Z",
                    "updated_at": "2026-06-03T11:30:00Z",
                }
            ],
            "next_cursor": None,
        },
        ("agents", "agents.0.id"),
    ),
    "get_agent": Sample(
        agents.get_agent(AGENT),
        {
            "agent": {"id": AGENT, "name": "Shorts maker", "description": "", "visibility": "private"},
            "agent_nodes": [
                {"agent_node_id": NODE, "node_type": NODE_TYPE, "params_used": {"caption_style": "karaoke"}}
            ],
            "connections": [{"source_agent_node_id": "in", "target_agent_node_id": NODE}],
        },
        (
            "agent",
            "agent.id",
            "agent_nodes.0.agent_node_id",
            "connections.0.source_agent_node_id",
            "connections.0.target_agent_node_id",
        ),
    ),
    "start_run": Sample(
        runs.start_run(AGENT, video_urls=["https://cdn.example.org/a.mp4"]), {"run_id": RUN}, ("run_id",)
    ),
    "get_run": Sample(runs.get_run(RUN), RUN_RESPONSE, ("status",)),
    "get_run_nodes": Sample(
        runs.get_run_nodes(RUN),
        {
            "run_id": RUN,
            "nodes": [
                {
                    "agent_node_id": "6d1f9f0a-7c3e-4b52-b0c1-2a3b4c5d6e7f",
                    "original_node_id": NODE,
                    "status": "failed",
                    "status_message": "Not enough credits",
                    "errors": ["Not enough credits"],
                    "node_type": NODE_TYPE,
                    "needs_credits": True,
                }
            ],
        },
        ("nodes",),
    ),
    "cancel_run": Sample(
        runs.cancel_run(RUN),
        {"success": True, "run_id": RUN, "tasks_cancelled": 1, "nodes_reset": 2, "message": "Run stopped"},
    ),
    "resume_run": Sample(
        runs.resume_run(RUN),
        {"success": True, "run_id": RUN, "agent_state_id": RUN, "nodes_queued": 2, "nodes_considered": 5},
    ),
    "list_runs": Sample(
        _first(runs.list_runs()),
        {"runs": [RUN_ROW], "next_cursor": "b2Zmc2V0OjE="},
        ("runs", "runs.0.run_id"),
    ),
    "list_runs:agent": Sample(
        _first(runs.list_runs(AGENT, status=["running", "failed"], created_from="2026-07-01T00:00:00Z")),
        {"runs": [RUN_ROW], "next_cursor": None},
        ("runs", "runs.0.run_id"),
    ),
    "list_node_types": Sample(agents.list_node_types(), {"node_types": [NODE_TYPE]}, ("node_types",)),
    "get_node_type": Sample(agents.get_node_type(CAPTIONS), {"node_type": NODE_TYPE}),
    **{
        f"start_upload:{kind.value}": Sample(
            assets.start_upload(kind),
            {
                f"{kind.value}_id": f"{kind.value}-1",
                "upload_url": "https://storage.example/bucket/",
                "upload_fields": {"key": "org/1", "policy": "hush", "x-goog-signature": "hush"},
                "max_file_size_bytes": 524288000,
            },
            (f"{kind.value}_id", "upload_url", "upload_fields"),
        )
        for kind in AssetType
    },
    **{
        f"finalize_upload:{kind.value}": Sample(
            assets.finalize_upload(kind, f"{kind.value}-1"), {f"{kind.value}_id": f"{kind.value}-1"}
        )
        for kind in AssetType
    },
    "get_view_url": Sample(
        assets.get_view_url(AssetType.VIDEO, "video-1"),
        {
            "asset_type": "video",
            "asset_id": "video-1",
            "signed_url": "https://storage.example/v.mp4?sig=hush",
            "thumbnail_url": "https://storage.example/v.jpg?sig=hush",
        },
        ("signed_url",),
    ),
    "list_social_connections": Sample(
        social_connections.list_social_connections(),
        {"connected_accounts": [ACCOUNT_ROW]},
        ("connected_accounts", "connected_accounts.0.social_connection_id"),
    ),
    "get_social_connection": Sample(
        social_connections.get_social_connection(ACCOUNT),
        {**ACCOUNT_ROW, "connected": True, "display_name": "Northlight"},
    ),
    "create_post": Sample(
        posts.create_post("Premiere tonight", social_connection_ids=[ACCOUNT]), POST_RESPONSE, ("post_id",)
    ),
    "get_post": Sample(posts.get_post(POST), POST_RESPONSE),
    "list_posts": Sample(
        _first(posts.list_posts(platform="youtube")),
        {"posts": [POST_RESPONSE], "next_cursor": None},
        ("posts", "posts.0.post_id"),
    ),
}
