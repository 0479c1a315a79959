from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.assets import start_upload
from airflow_provider_mosaic.api.endpoints.posts import create_post
from airflow_provider_mosaic.api.endpoints.runs import start_run
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.responses import Response

SIGNED = "https://s.example/a.mp4?sig=hush"

# Starting a run


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ({}, {}),
        ({"video_urls": "https://a.example/v.mp4"}, {"video_urls": ["https://a.example/v.mp4"]}),
        ({"video_urls": [SIGNED]}, {"video_urls": [SIGNED]}),
        ({"video_ids": ["v"], "node_render_ids": ("o",)}, {"video_ids": ["v"], "node_render_ids": ["o"]}),
        ({"mimir_assets": [{"id": "m", "artifact": "proxy"}]}, {"mimir_assets": [{"id": "m", "artifact": "proxy"}]}),
        (
            {"update_params": {"n": {"caption_font_weight": "700", "x": None}}},
            {"update_params": {"n": {"caption_font_weight": "700", "x": None}}},
        ),
        ({"ignore_nodes": "n"}, {"ignore_nodes": ["n"]}),
        (
            {
                "video_inputs": [
                    {
                        "agent_node_id": "n",
                        "video_ids": "v",
                        "video_urls": None,
                        "input_clip_start_ms": 0,
                        "input_clip_end_ms": 1,
                    }
                ]
            },
            {
                "video_inputs": [
                    {"agent_node_id": "n", "video_ids": ["v"], "input_clip_start_ms": 0, "input_clip_end_ms": 1}
                ]
            },
        ),
        (
            {"video_inputs": "[{'agent_node_id': 'n', 'node_render_ids': ['o']}]"},
            {"video_inputs": [{"agent_node_id": "n", "node_render_ids": ["o"]}]},
        ),
        (
            # JSON has one kind of number: the float of ``0.005 * 1000`` is sent as an integer.
            {"video_inputs": [{"agent_node_id": "n", "video_ids": ["v"], "input_clip_start_ms": 5.0}]},
            {"video_inputs": [{"agent_node_id": "n", "video_ids": ["v"], "input_clip_start_ms": 5}]},
        ),
    ],
)
def test_start_run_body(inputs: dict[str, Any], body: dict[str, Any]) -> None:
    call = start_run("agent-1", **inputs)
    assert call.body == body
    assert (call.method, call.target) == ("POST", "/agent/agent-1/run")


def clip(**bounds: Any) -> list[dict[str, Any]]:
    return [{"agent_node_id": "n", "video_ids": ["v"], **bounds}]


@pytest.mark.parametrize(
    ("inputs", "name", "words"),
    [
        ({"video_urls": []}, "video_urls", "it is empty"),
        ({"video_urls": ["v.mp4"]}, "video_urls[0]", "full URL"),
        ({"video_urls": [SIGNED, "b?sig=hush"]}, "video_urls[1]", "full URL"),
        ({"video_ids": [SIGNED]}, "video_ids[0]", "not a link"),
        ({"video_ids": {"a": 1}}, "video_ids", "must be a list"),
        ({"node_render_ids": "[]"}, "node_render_ids", "it is empty"),
        ({"mimir_assets": ["m"]}, "mimir_assets[0]", "must be an object"),
        ({"mimir_assets": [{"artifact": "proxy"}]}, "mimir_assets[0].id", "must be an id"),
        ({"video_inputs": []}, "video_inputs", "it is empty"),
        ({"video_inputs": ["n"]}, "video_inputs[0]", "must be an object"),
        ({"video_inputs": [{"video_ids": ["v"]}]}, "video_inputs[0]", "it has no agent_node_id"),
        (
            {"video_inputs": [{"agent_node_id": "", "video_ids": ["v"]}]},
            "video_inputs[0].agent_node_id",
            "must be an id",
        ),
        ({"video_inputs": [{"agent_node_id": "n"}]}, "video_inputs[0]", "it has no source"),
        ({"video_inputs": [{"agent_node_id": "n", "video_ids": None}]}, "video_inputs[0]", "it has no source"),
        ({"video_inputs": [{"agent_node_id": "n", "video_ids": []}]}, "video_inputs[0].video_ids", "it is empty"),
        ({"video_inputs": [{"agent_node_id": "n", "video_urls": ["x"]}]}, "video_inputs[0].video_urls[0]", "full URL"),
        ({"video_inputs": [*clip(), {"agent_node_id": "m"}]}, "video_inputs[1]", "it has no source"),
        ({"video_inputs": clip(), "video_ids": ["v"]}, "video_inputs", "it excludes video_ids"),
        (
            {"video_inputs": clip(), "video_urls": [SIGNED], "node_render_ids": ["o"]},
            "video_inputs",
            "it excludes video_urls, node_render_ids",
        ),
        ({"video_inputs": clip(input_clip_start_ms=1.5)}, "video_inputs[0].input_clip_start_ms", "whole number"),
        ({"video_inputs": clip(input_clip_start_ms="5")}, "video_inputs[0].input_clip_start_ms", "whole number"),
        ({"video_inputs": clip(input_clip_end_ms=True)}, "video_inputs[0].input_clip_end_ms", "whole number"),
        ({"video_inputs": clip(input_clip_start_ms=-1)}, "video_inputs[0].input_clip_start_ms", "at least 0"),
        (
            {"video_inputs": clip(input_clip_start_ms=5, input_clip_end_ms=5)},
            "video_inputs[0]",
            "ends before it starts",
        ),
        (
            {"video_inputs": clip(input_clip_start_ms=9, input_clip_end_ms=5)},
            "video_inputs[0]",
            "ends before it starts",
        ),
        ({"update_params": []}, "update_params", "must be an object"),
        ({"update_params": {"n": 5}}, "update_params['n']", "must be an object"),
        ({"update_params": {"": {}}}, "update_params key", "must be an id"),
        ({"update_params": {"n": {"a": float("inf")}}}, "update_params", "JSON"),
        ({"ignore_nodes": []}, "ignore_nodes", "it is empty"),
        ({"ignore_nodes": [""]}, "ignore_nodes[0]", "must be an id"),
        ({"callback_url": "hooks.example"}, "callback_url", "full URL"),
        ({"callback_url": ""}, "callback_url", "full URL"),
    ],
)
def test_start_run_rejects_invalid_arguments(inputs: dict[str, Any], name: str, words: str) -> None:
    with pytest.raises(MosaicValidationError) as caught:
        start_run("agent-1", **inputs)
    message = str(caught.value)
    assert message.startswith(f"{name}="), message
    assert words in message
    assert "hush" not in message


# Making a post


def test_create_post_body() -> None:
    call = create_post(
        "Premiere",
        social_connection_ids=["c1", "c2", "c1"],
        media_urls=[SIGNED],
        schedule_date="2099-07-01T19:00:00.9+02:00",
        workspace_id="w",
    )
    assert call.body == {
        "post": "Premiere",
        "destinations": [{"social_connection_id": "c1"}, {"social_connection_id": "c2"}],
        "media_urls": [SIGNED],
        "schedule_date": "2099-07-01T17:00:00Z",
        "workspace_id": "w",
    }
    # The first spelling of an account: a post is not published on it twice.
    uuid = "C0000000-0000-4000-8000-00000000000A"
    twice = create_post("Premiere", social_connection_ids=[uuid, "c1", uuid.lower(), uuid.replace("-", "")])
    assert twice.body["destinations"] == [{"social_connection_id": uuid}, {"social_connection_id": "c1"}]
    assert create_post("", platforms="X", media_urls=SIGNED).body == {
        "post": "",
        "platforms": ["x"],
        "media_urls": [SIGNED],
    }


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        ({"text": None}, "text", "must be text"),
        ({"text": " "}, "text", "neither text nor media"),
        ({"platforms": None}, "social_connection_ids", "no destination"),
        ({"platforms": []}, "platforms", "it is empty"),
        ({"platforms": ["x", ""]}, "platforms[1]", "must be an id"),
        ({"social_connection_ids": ["c"]}, "platforms", "not both"),
        ({"platforms": None, "social_connection_ids": []}, "social_connection_ids", "it is empty"),
        ({"media_urls": []}, "media_urls", "it is empty"),
        ({"media_urls": ["v.mp4"]}, "media_urls[0]", "full URL"),
        ({"schedule_date": "2026-07-01T17:00:00"}, "schedule_date", "no time zone"),
        ({"schedule_date": "2020-01-01T00:00:00Z"}, "schedule_date", "in the past"),
        ({"schedule_date": datetime(2020, 1, 1, tzinfo=timezone.utc)}, "schedule_date", "in the past"),
        ({"schedule_date": "friday"}, "schedule_date", "ISO 8601"),
        ({"workspace_id": ""}, "workspace_id", "must be an id"),
    ],
)
def test_create_post_rejects_invalid_arguments(options: dict[str, Any], name: str, words: str) -> None:
    arguments = {"text": "Premiere", "platforms": ["x"], **options}
    with pytest.raises(MosaicValidationError) as caught:
        create_post(arguments.pop("text"), **arguments)
    assert str(caught.value).startswith(f"{name}=")
    assert words in str(caught.value)


def test_null_field_of_upload_form_is_dropped() -> None:
    fields = {"key": "k", "x-goog-security-token": None, "policy": 5}
    answer = {"video_id": "v", "upload_url": "https://storage.example/", "upload_fields": fields}
    form = start_upload(AssetType.VIDEO).result(Response(200, {}, json.dumps(answer).encode()))
    assert list(form.upload_fields.items()) == [("key", "k"), ("policy", "5")]


# Any request


def test_half_surrogate_pair_can_be_sent() -> None:
    content = create_post("half \ud83d", platforms=["x"]).content
    assert content is not None
    assert content.isascii()


def test_call_without_arguments() -> None:
    call: Call[Any] = whoami()
    assert (call.target, call.content) == ("/whoami", None)
