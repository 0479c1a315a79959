"""Responses in other versions of the documentation, by the name of the sample."""

from __future__ import annotations

from typing import Any

from .samples import AGENT, CAPTIONS, NODE, OUTPUT_RESPONSE, POST, RUN, RUN_RESPONSE, RUN_ROW
from .samples_beyond_runs import AVATAR, CHANNEL, PLAN, PROFILE, TRIGGER

METADATA = {
    "name": "Shorts maker",
    "description": "",
    "visibility": "private",
    "workspace_id": AGENT,
    "created_at": "2026-03-01T09:00:00Z",
    "updated_at": "2026-03-01T09:00:00Z",
}
OLDER_TRIGGER = {
    "id": TRIGGER,
    "type": "youtube",
    "youtube_channels": [f"https://www.youtube.com/channel/{CHANNEL['channel_id']}"],
    "callback_url": None,
}
RESULT = {"platform": "x", "status": "success", "post_id": "x_1", "post_url": "https://x.example/1", "message": None}

#: Other responses, by sample.
OTHER_FORMS: dict[str, list[Any]] = {
    "whoami": [
        {
            "user_id": "u",
            "email": "someone@example.org",
            "is_admin": True,
            "api_key_id": "k",
            "created_at": "2025-08-06T00:00:00Z",
            "last_used_at": None,
        }
    ],
    "get_agent": [
        {
            "agent": {"id": AGENT, **METADATA},
            "nodes": [
                {
                    "id": NODE,
                    "node_type_id": CAPTIONS,
                    "node_type_name": "Captions",
                    "params_used": {"base_color": "#fff"},
                }
            ],
        }
    ],
    "create_agent": [{"agent_id": AGENT, **METADATA}, {"agent": {"id": AGENT, **METADATA}}],
    "update_agent": [{"success": True, **METADATA}],
    "start_run": [RUN_ROW, {"agent_state_id": RUN}],
    "get_run": [
        {
            **RUN_RESPONSE,
            "needsCredits": True,
            "needs_credits": None,
            "errors": ["Not enough credits"],
            "inputs": [{"video_id": "v", "video_url": "https://storage.example/in.mp4?sig=hush"}],
            "outputs": [{name: value for name, value in OUTPUT_RESPONSE.items() if name != "id"}],
            "triggered_by": "manual",
        }
    ],
    "get_run_nodes": [{"nodes": [{"agent_node_id": NODE, "status": "blocked", "needsCredits": True}]}],
    "list_runs": [{"runs": [{**RUN_ROW, "triggered_by": {"id": "v", "type": "youtube", "youtube": {"id": "v"}}}]}],
    "finalize_upload:video": [{"status": "ok"}, {"file_uuid": "video-1", "file_name": "a.mp4", "url": ""}],
    "create_post": [
        {
            "post_id": POST,
            "status": "success",
            "links": [{"platform": "x", "post_url": "https://x.example/1"}],
            "results": [RESULT],
            "error": None,
            "tracking_id": "t",
            "tracked_status": "posted",
        },
        {"post_id": POST, "status": "processing"},
    ],
    "get_post": [{"post_id": POST, "status": "posted", "destinations": [{"platform": "x"}], "results": [RESULT]}],
    "list_posts": [{"posts": [{"post_id": POST, "status": "failed"}], "cursor": "b2Zmc2V0OjE="}],
    "update_post": [{"post_id": POST, "status": "success", "tracking_id": None, "tracked_status": "scheduled"}],
    "list_triggers": [OLDER_TRIGGER],
    "add_youtube_channels": [{"status": "ok"}],
    "remove_youtube_channels": [{"message": "1 channel removed", "removed_channels": [CHANNEL["channel_id"]]}],
    "create_avatar_profile": [{"avatar_profile": PROFILE}, {"id": AVATAR}],
    "get_avatar_profile": [{"id": AVATAR, "name": "Host A", "processing_status": "processing"}],
    "get_credits": [
        {
            "organization_id": AGENT,
            "credits": {"balance": 731.5, "unlimited": False, "usage": 9269, "next_reset_at": "2026-04-01T00:00:00Z"},
            "plan": {"id": "creator", "family": "creator"},
        }
    ],
    "get_plan": [{"plan": None, "scheduled_plan": PLAN}],
    "list_plans": [
        {
            "plans": [
                {"id": "pro", "aliases": ["pro_monthly"], "monthly_price_usd": 200, "annual_price_usd": None},
                {"id": "creator_annual", "aliases": [], "monthly_price_usd": None, "annual_price_usd": 480},
            ]
        }
    ],
    "upgrade_plan": [{"success": True, "requires_checkout": False, "plan_id": "creator", "plan_family": "creator"}],
    "list_pipeline_runs": [{"items": [{"agent_state_id": RUN, "status": "running"}], "next_cursor": None}],
}

EVENT = {
    "agent_id": AGENT,
    "run_id": RUN,
    "status": "running",
    "node_status_counts": {"completed": 2, "in_progress": 2, "failed": 0},
    "triggered_by": {"type": "youtube", "channel_id": CHANNEL["channel_id"], "trigger_id": TRIGGER},
}
#: Bodies of webhooks.
EVENTS: dict[str, dict[str, Any]] = {
    "RUN_STARTED": {"flag": "RUN_STARTED", **EVENT, "inputs": RUN_RESPONSE["inputs"]},
    "RUN_PROGRESS": {
        "flag": "RUN_PROGRESS",
        **EVENT,
        "updated_nodes": [
            {
                "original_node_id": NODE,
                "status": "completed",
                "status_message": None,
                "errors": ["Too dark"],
                "outputs": [OUTPUT_RESPONSE],
            }
        ],
    },
    "RUN_FINISHED": {
        "flag": "RUN_FINISHED",
        **EVENT,
        "status": "failed",
        "status_message": "Not enough credits",
        "needs_credits": True,
        "errors": RUN_RESPONSE["errors"],
        "inputs": RUN_RESPONSE["inputs"],
        "outputs": [],
        "triggered_by": None,
    },
    "TEST": {
        "flag": "TEST",
        "run_id": "test",
        "timestamp": "2025-08-06T00:00:00Z",
        "message": "It works",
        "user_id": "u",
        "test_data": {"status": "test", "description": "a test"},
    },
}
