"""A call and the documented response of each endpoint for agents, triggers, avatars, billing, metrics and details."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints import (
    agents,
    avatars,
    billing,
    engagement,
    observability,
    posts,
    social_connections,
    storage_watchers,
    triggers,
)
from airflow_provider_mosaic.api.paging import Listing

from .samples import ACCOUNT, AGENT, NODE, NODE_TYPE, POST, POST_RESPONSE, RUN, RUN_ROW, Sample

TRIGGER = "77e0a7a8-0f6e-4f57-9a4b-b5d1c0d2e3f4"
BATCH = "4a1c9b2e-5d7f-4e80-9b1a-0c2d3e4f5a6b"
AVATAR = "5b0e9d7c-1f57-4a37-8d35-4a0f6b2f2a77"
ORGANIZATION = "6f0d3c1e-2f55-4a53-9a3c-0c9d6a1e7b10"

GRAPH = {
    "agent": {"id": AGENT, "name": "Copy of Shorts maker", "description": "", "visibility": None},
    "agent_nodes": [{"agent_node_id": NODE, "node_type": NODE_TYPE, "params_used": {}}],
    "connections": [],
}
CHANGE = {
    "success": True,
    "agent_id": AGENT,
    "operations_applied": 1,
    "created_nodes": [{"temp_ref_id": "in", "agent_node_id": NODE}],
}
CHANNEL = {
    "channel_id": "UCabcdefghijklmnopqrstuv",
    "channel_name": "Demo",
    "channel_handle": "@demo",
    "thumbnail_url": None,
    "subscriber_count": None,
}
PROFILE = {
    "id": AVATAR,
    "name": "Host A",
    "status": "pending",
    "status_message": None,
    "video_preview_url": "https://storage.example/p.mp4?sig=hush",
}
TOPUP = {"eligible": True, "enabled": False, "threshold": 0, "quantity": 0}
PLAN = {
    "id": "professional",
    "family": "professional",
    "status": "active",
    "started_at": "2026-04-14T00:00:00.000Z",
    "current_period_start": "2026-06-14T00:00:00.000Z",
    "current_period_end": "2026-07-14T00:00:00.000Z",
    "canceled_at": None,
}
TILE = {"tile_id": "9d1f", "tile_name": "Rough Cut", "credits_used": 120, "events": 4}
METRICS = {"likes": 41, "shares": None, "views": 860}


def _rows(listing: Listing[Any], key: str, **row: Any) -> Sample:
    return Sample(listing.page(None), {key: [row], "next_cursor": None}, nameless=True)


def _plain(call: Call[Any], answer: Any, *needed: str) -> Sample:
    return Sample(call, answer, needed)


MORE_SAMPLES: dict[str, Sample] = {
    "create_agent": _plain(
        agents.create_agent(name="Shorts maker"), CHANGE, "agent_id", "created_nodes.0.agent_node_id"
    ),
    "update_agent": _plain(
        agents.update_agent(AGENT, operations=[{"op": "delete_node", "agent_node_id": NODE}]),
        CHANGE,
        "created_nodes.0.agent_node_id",
    ),
    "delete_agent": _plain(
        agents.delete_agent(AGENT), {"success": True, "agent_id": AGENT, "message": "Agent removed"}
    ),
    "duplicate_agent": _plain(agents.duplicate_agent(AGENT), GRAPH, "agent", "agent.id", "agent_nodes.0.agent_node_id"),
    "get_agent_node": _plain(
        agents.get_agent_node(NODE),
        {"agent_node": GRAPH["agent_nodes"][0]},  # type: ignore[index]
        "agent_node.agent_node_id",
    ),
    "list_triggers": _plain(
        triggers.list_triggers(AGENT),
        [
            {
                "id": TRIGGER,
                "type": "youtube",
                "youtube_channels": [CHANNEL["channel_id"]],
                "youtube_channel_details": [CHANNEL],
                "callback_url": "https://hooks.example.org/yt?token=hush",
                "filter_options": {"duration": {"min_seconds": 60}},
            }
        ],
        "0.id",
    ),
    "add_youtube_channels": _plain(
        triggers.add_youtube_channels(AGENT, ["@demo"]),
        {
            "message": "1 channel added",
            "channel_ids": [CHANNEL["channel_id"]],
            "channels": [{"input": "@demo", "channel_id": CHANNEL["channel_id"]}],
            "filter_options": None,
            "youtube_channel_details": [CHANNEL],
        },
    ),
    "remove_youtube_channels": _plain(triggers.remove_youtube_channels(AGENT, ["@demo"]), {"status": "ok"}),
    "create_avatar_profile": _plain(
        avatars.create_avatar_profile("Host A", video_url="https://cdn.example.org/host.mp4"), PROFILE, "id"
    ),
    "get_avatar_profile": _plain(avatars.get_avatar_profile(AVATAR), PROFILE),
    "list_avatar_profiles": _plain(
        avatars.list_avatar_profiles(), {"avatar_profiles": [PROFILE]}, "avatar_profiles", "avatar_profiles.0.id"
    ),
    "get_credits": _plain(
        billing.get_credits(),
        {
            "organization_id": ORGANIZATION,
            "balance": 731,
            "plan": "professional",
            "plan_id": "professional",
            "billing_cycle": {"current_period_start": "2026-06-14T00:00:00.000Z", "current_period_end": None},
            "auto_topup": TOPUP,
        },
    ),
    "get_credits_usage": _plain(
        billing.get_credits_usage(),
        {
            "organization_id": ORGANIZATION,
            "date_range": {"start_date": "2026-06-01T00:00:00.000Z", "end_date": "2026-06-30T23:59:59.999Z"},
            "summary": {"total_credits_used": 120, "total_events": 4, "truncated": False},
            "breakdown": {
                "by_tile": [TILE],
                "by_date": [{"date": "2026-06-12", "credits_used": 120, "events": 4}],
                "by_date_and_tile": [{"date": "2026-06-12", **TILE}],
            },
        },
    ),
    "set_auto_topup": _plain(billing.set_auto_topup(enabled=False), {"auto_topup": TOPUP}),
    "get_plan": _plain(
        billing.get_plan(),
        {"organization_id": ORGANIZATION, "plan": PLAN, "scheduled_plan": None, "credits": {"balance": 731}},
    ),
    "list_plans": _plain(
        billing.list_plans(),
        {"plans": [{"id": "creator", "billing": "monthly", "price_usd": 50, "credits_per_month": 2500, "notes": "x"}]},
        "plans",
        "plans.0.id",
    ),
    "upgrade_plan": _plain(
        billing.upgrade_plan("creator"),
        {
            "success": False,
            "requires_checkout": True,
            "plan_id": "creator",
            "checkout_url": "https://pay.example/c?k=hush",
        },
    ),
    "create_connect_link": _plain(
        social_connections.create_connect_link("tiktok"),
        {"platform": "tiktok", "connect_url": "https://api.example/social/connect/v1.hush"},
        "connect_url",
    ),
    "delete_social_connection": _plain(
        social_connections.delete_social_connection(ACCOUNT),
        {"success": True, "platform": "x", "social_connection_id": ACCOUNT},
    ),
    "update_post": _plain(posts.update_post(POST, approve=True), POST_RESPONSE),
    "delete_post": _plain(posts.delete_post(POST), {"post_id": POST, "status": "rejected"}),
    "get_post_analytics": _plain(
        engagement.get_post_analytics(POST),
        {
            "analytics": {
                "status": "success",
                "totals": METRICS,
                "platforms": [
                    {"platform": "youtube", "platform_post_id": "yt_9Qx", "metrics": METRICS, "raw_metrics": {}}
                ],
                "metadata": {},
            },
            "stats": {},
        },
    ),
    "list_post_comments": Sample(
        engagement.list_post_comments(POST).page(None),
        {"comments": [{"comment_id": "c", "platform": "x", "created_at": None, "replies": []}], "next_cursor": None},
        ("comments",),
    ),
    "list_trigger_runs": Sample(
        observability.list_trigger_runs(TRIGGER).page(None),
        {"runs": [RUN_ROW], "next_cursor": None},
        ("runs", "runs.0.run_id"),
    ),
    "list_workspace_runs": _rows(observability.list_workspace_runs(), "runs", id=RUN, agent_id=AGENT),
    "list_ingest_batches": _rows(storage_watchers.list_ingest_batches(), "ingest_batches", id=BATCH),
    "list_pipeline_runs": _rows(observability.list_pipeline_runs(), "runs", id=RUN, status="running"),
    "get_run_progress": _plain(
        observability.get_run_progress(RUN), {"completed_node_percent": 66.7, "tiles": [], "next_cursor": None}
    ),
    "list_run_tasks": _rows(observability.list_run_tasks(RUN), "tasks", id="t", status="running", progress=40),
    "list_run_notifications": _rows(observability.list_run_notifications(RUN), "notifications", id="n"),
    "list_notification_configurations": _rows(
        observability.list_notification_configurations(RUN), "configurations", id="c"
    ),
    "list_storage_triggers": _rows(
        storage_watchers.list_storage_triggers(), "storage_triggers", id=TRIGGER, agent_id=AGENT
    ),
    "list_watched_folders": _rows(storage_watchers.list_watched_folders(TRIGGER), "folders", id="f", is_active=True),
    "list_storage_events": _rows(storage_watchers.list_storage_events(TRIGGER), "events", id="e"),
    "list_storage_batches": _rows(
        storage_watchers.list_storage_batches(), "batches", id=BATCH, agent_state_id=RUN, last_error=None
    ),
    "list_batch_items": _rows(storage_watchers.list_batch_items(BATCH), "items", id="i"),
}
