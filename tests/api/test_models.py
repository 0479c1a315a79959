from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.account import Whoami, whoami
from airflow_provider_mosaic.api.endpoints.agents import AgentNode, update_agent
from airflow_provider_mosaic.api.endpoints.assets import start_upload
from airflow_provider_mosaic.api.endpoints.avatars import create_avatar_profile, get_avatar_profile
from airflow_provider_mosaic.api.endpoints.billing import (
    PlanOffer,
    get_credits,
    get_credits_usage,
    get_plan,
    list_plans,
    set_auto_topup,
)
from airflow_provider_mosaic.api.endpoints.engagement import PostAnalytics
from airflow_provider_mosaic.api.endpoints.posts import Destination, Post
from airflow_provider_mosaic.api.endpoints.runs import NodeCounts, Output, Run, RunNode
from airflow_provider_mosaic.api.endpoints.social_connections import SocialConnection
from airflow_provider_mosaic.api.endpoints.triggers import add_youtube_channels, list_triggers
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.models import parse_time
from airflow_provider_mosaic.api.responses import Response

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01T12:00:00Z",
        "2026-07-01T12:00:00+00:00",
        "2026-07-01T12:00:00.000000Z",
        "2026-07-01T14:00:00+02:00",
        "2026-07-01 12:00:00",
        "2026-07-01T12:00:00",
        NOON,
        NOON.replace(tzinfo=None),
    ],
)
def test_time_formats(text: Any) -> None:
    assert parse_time(text) == NOON


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday evening",
        "2026-13-01T00:00:00Z",
        0,
        17,
        -1782907200,
        float("nan"),
        10**40,
        "17",
        "9999999999999999999",
        "99999",
        True,
        None,
        {},
        "0001-01-01T00:00:00+14:00",
        "P1D",
        "2026-07-01/P1D",
        "P1D/P1D",
    ],
)
def test_invalid_time_is_none(value: Any) -> None:
    assert parse_time(value) is None


@settings(max_examples=300)
@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{1,5}-[0-9]{1,3}(-[0-9]{1,3})?[T ]?[0-9:.,]{0,12}(Z|[+-][0-9:]{1,6})?", fullmatch=True)
)
def test_any_text_is_a_time_or_none(text: str) -> None:
    moment = parse_time(text)
    assert moment is None or moment.tzinfo is timezone.utc


def run(**facts: Any) -> Run:
    return Run.model_validate({"run_id": "r", "status": "running", **facts})


@pytest.mark.parametrize(
    ("errors", "messages"),
    [
        ([{"original_node_id": "n", "messages": ["a", "b"]}], [("n", ("a", "b"))]),
        ([{"original_node_id": None, "messages": ["a"]}], [(None, ("a",))]),
        ([{"original_node_id": "n", "messages": "a"}], [("n", ("a",))]),
        ([{"original_node_id": "n", "messages": None}], [("n", ())]),
        (["plain"], [(None, ("plain",))]),
        ("plain", [(None, ("plain",))]),
        ({"original_node_id": "n", "messages": ["a"]}, [("n", ("a",))]),
        ([{"messages": [{"message": "a", "code": 5}]}], [(None, ("a",))]),
        ([], []),
        (None, []),
    ],
)
def test_error_shapes_of_a_run(errors: Any, messages: list[Any]) -> None:
    assert [(entry.original_node_id, entry.messages) for entry in run(errors=errors).errors] == messages


@pytest.mark.parametrize(
    ("errors", "messages"),
    [
        (["a"], ("a",)),
        ([{"message": "a"}], ("a",)),
        ([{"messages": ["a"]}], ("['a']",)),
        ([5], ("5",)),
        ([], ()),
        (None, ()),
    ],
)
def test_error_shapes_of_a_node(errors: Any, messages: tuple[str, ...]) -> None:
    assert RunNode.model_validate({"errors": errors}).errors == messages


@pytest.mark.parametrize(
    ("facts", "needs"),
    [
        ({"needs_credits": True}, True),
        ({"needsCredits": True}, True),
        ({"needs_credits": "true"}, True),
        ({"needs_credits": False}, False),
        ({"needs_credits": None}, False),
        ({"needs_credits": "yes?"}, False),
        ({}, False),
    ],
)
def test_needs_credits_shapes(facts: dict[str, Any], needs: bool) -> None:
    assert run(**facts).needs_credits is needs


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3, 3),
        (3.0, 3),
        ("3", 3),
        ("three", 0),
        (True, 0),
        (None, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (10**400, 0),
        ([], 0),
    ],
)
def test_invalid_count_is_zero(value: Any, count: int) -> None:
    assert NodeCounts.model_validate({"completed": value}).completed == count


def test_node_counts_as_text() -> None:
    assert str(NodeCounts(completed=1, in_progress=2, failed=3)) == "1 completed, 2 in progress, 3 failed"


@pytest.mark.parametrize(
    "facts",
    [
        {"node_status_counts": []},
        {"node_status_counts": 5},
        {"errors": [["a"]]},
        {"errors": 5},
        {"inputs": ["https://cdn.example/a.mp4"]},
        {"inputs": {}},
        {"triggered_by": []},
        {"outputs": [{"id": "o", "sources": ["getty"]}]},
    ],
)
def test_invalid_lenient_field_of_a_run_is_ignored(facts: dict[str, Any]) -> None:
    assert run(**{"outputs": [{"id": "o"}], **facts}).output_ids == ["o"]


@pytest.mark.parametrize("facts", [{"platforms": "x"}, {"destinations": ["c1"]}, {"results": {"x": "out"}}])
def test_invalid_lenient_field_of_a_post_is_ignored(facts: dict[str, Any]) -> None:
    assert Post.model_validate({"post_id": "p", "status": "posted", **facts}).status == "posted"


@pytest.mark.parametrize("facts", [{"outputs": ["https://cdn.example/a.mp4"]}, {"outputs": {}}, {"status": []}])
def test_invalid_required_field_is_an_error(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run(**facts)


def test_unknown_field_is_kept() -> None:
    assert run(brand_new={"a": 1}).model_extra == {"brand_new": {"a": 1}}


def test_unknown_status_is_kept() -> None:
    assert run(status="paused by moon").status == "paused by moon"


@pytest.mark.parametrize(
    ("facts", "run_id"),
    [({"run_id": "a", "id": "b"}, "a"), ({"id": "b"}, "b"), ({"agent_state_id": "c"}, "c"), ({"run_id": 7}, "7")],
)
def test_names_of_the_run_id(facts: dict[str, Any], run_id: str) -> None:
    assert Run.model_validate({"status": "running", **facts}).run_id == run_id


def test_output_ids_skip_outputs_without_id() -> None:
    link = "https://s.example/v.mp4?sig=hush"
    outputs = [{"id": "a"}, {"video_url": link}, {"output_id": "b"}, {"id": link}]
    assert run(outputs=outputs).output_ids == ["a", "b"]


def test_models_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(run(), "status", "completed")  # noqa: B010 - mypy knows that it can't be set


def test_models_accept_their_own_field_names() -> None:
    assert Output(output_id="a").output_id == "a"
    assert Run(run_id="r", status="running", needs_credits=True).needs_credits


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"organization_name": "Northwind"}, "Northwind"),
        ({"email": "someone@example.org", "user_id": "u"}, "someone@example.org"),
        ({"organization_id": "o"}, "o"),
        ({"user_id": "u"}, "u"),
        ({}, "an unnamed organization"),
    ],
)
def test_owner_name_in_every_version(facts: dict[str, Any], name: str) -> None:
    assert Whoami.model_validate(facts).name == name


def test_null_scopes_and_empty_scopes_differ() -> None:
    assert Whoami.model_validate({"scopes": None}).scopes is None
    assert Whoami.model_validate({}).scopes is None
    assert Whoami.model_validate({"scopes": []}).scopes == ()


@pytest.mark.parametrize("text", ["runs:read social:write", "runs:read,social:write", " runs:read, social:write "])
def test_scopes_as_text_are_a_restriction(text: str) -> None:
    assert Whoami.model_validate({"scopes": text}).scopes == ("runs:read", "social:write")
    assert Whoami.model_validate({"scopes": ""}).scopes == ()


@pytest.mark.parametrize(
    "body", [{"channels": ["UC1"], "channel_ids": {"@demo": "UC1"}, "message": "Added"}, "ok", True, ["UC1"], None]
)
def test_added_channels_without_readable_ids_are_no_failure(body: Any) -> None:
    added = read(add_youtube_channels("a", ["@demo"]), body)
    assert (added.channels, added.channel_ids) == ((), ())


def test_destination_results_are_read_from_destinations_or_results() -> None:
    newer = {"destinations": [{"platform": "x", "status": "posted"}], "results": [{"platform": "y", "status": "error"}]}
    older = {"destinations": [{"platform": "x"}], "results": [{"platform": "x", "status": "error", "message": "m"}]}
    neither = {"destinations": [{"platform": "x"}]}
    results = [Post.model_validate({"post_id": "p", **facts}).destination_results for facts in (newer, older, neither)]
    assert [[(d.platform, d.status) for d in found] for found in results] == [
        [("x", "posted")],
        [("x", "error")],
        [("x", None)],
    ]


@pytest.mark.parametrize("name", ["message", "error", "error_message", "detail"])
def test_names_of_the_failure_message(name: str) -> None:
    assert Destination.model_validate({name: "private video"}).message == "private video"


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"platform": "x", "account_username": "north"}, "x (north)"),
        ({"platform": "x", "social_connection_id": "c"}, "x (c)"),
        ({"platform": "x"}, "x"),
        ({"account_name": "North"}, "unknown platform (North)"),
        ({}, "unknown"),
    ],
)
def test_destination_name(facts: dict[str, Any], name: str) -> None:
    assert Destination.model_validate(facts).name == name


def test_connected_may_be_unknown() -> None:
    assert SocialConnection(social_connection_id="c").connected is None


def test_metric_does_not_replace_an_id_column() -> None:
    entry = {"platform": "youtube", "metrics": {"views": 3, "platform": 5, "post_id": 6, "post_url": 7}}
    (row,) = PostAnalytics.model_validate({"post_id": "p", "platforms": [entry]}).as_rows()
    assert {name: value for name, value in row.items() if value is not None} == {
        "post_id": "p", "platform": "youtube", "views": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (whoami(), {"organization_id": "o", "scopes": "agents:read"}),
        (get_credits(), {"balance": 5, "auto_topup": {"threshold": "low"}}),
        (list_triggers("a"), [{"id": "t", "youtube_channel_details": [{"channel_id": None, "channel_name": "x"}]}]),
        (list_plans(), {"plans": [{"id": "p", "price_usd": "custom", "credits_per_month": "unlimited"}]}),
        (list_plans(), {"plans": [{"id": "p", "annual_price_usd": "custom"}]}),
    ],
    ids=["scopes", "top-up", "channel details", "plan", "plan of early 2026"],
)
def test_field_that_no_decision_needs_does_not_fail_the_call(call: Call[Any], body: Any) -> None:
    assert call.result(Response(200, {}, json.dumps(body).encode())) is not None


@pytest.mark.parametrize(
    "body",
    [{"status": "ready"}, {"avatar_profile": {"id": "a", "status": "ready"}}, {"avatar_profile_id": "a"}],
    ids=str,
)
def test_avatar_profile_that_was_read_has_its_id(body: Any) -> None:
    assert get_avatar_profile("a").result(Response(200, {}, json.dumps(body).encode())).id == "a"


def test_avatar_profile_that_was_created_may_name_its_id_in_full() -> None:
    call = create_avatar_profile("Host A", video_id="v")
    assert call.result(Response(201, {}, b'{"success": true, "avatar_profile_id": "a"}')).id == "a"


def read(call: Call[Any], body: Any) -> Any:
    return call.result(Response(200, {}, json.dumps(body).encode()))


def test_null_counts_as_absent_where_two_objects_are_merged() -> None:
    older = {"balance": 731, "unlimited": True}
    credits = read(get_credits(), {"balance": None, "unlimited": None, "credits": older})
    assert (credits.balance, credits.unlimited) == (731, True)
    usage = {"summary": {"total_credits_used": 5}, "breakdown": {"total_credits_used": None}}
    assert read(get_credits_usage(), usage).total_credits_used == 5
    assert PlanOffer.model_validate({"id": "p", "billing": None, "monthly_price_usd": 50}).billing == "monthly"


@pytest.mark.parametrize("name", ["plan", "scheduled_plan"])
@pytest.mark.parametrize(("value", "family"), [("professional", "professional"), ({"family": "creator"}, "creator")])
def test_plan_may_be_a_name(name: str, value: Any, family: str) -> None:
    assert getattr(read(get_plan(), {name: value}), name).family == family


def test_unreadable_plan_does_not_count_as_no_plan() -> None:
    with pytest.raises(MosaicResponseError, match="plan"):
        read(get_plan(), {"plan": ["professional"]})


@pytest.mark.parametrize(
    "body",
    [
        {"total_credits_used": 120, "by_tile": [{"tile_id": "t", "credits_used": 120}]},
        {"summary": {"total_credits_used": 120}, "by_tile": [{"tile_id": "t", "credits_used": 120}]},
        {"summary": {"total_credits_used": 120}, "breakdown": {"by_tile": [{"tile_id": "t", "credits_used": 120}]}},
    ],
    ids=["flat", "half nested", "nested"],
)
def test_usage_of_credits_is_read_in_every_shape(body: Any) -> None:
    usage = read(get_credits_usage(), body)
    assert usage.total_credits_used == 120
    assert [(row.tile_id, row.credits_used, row.events) for row in usage.by_tile] == [("t", 120, None)]


def test_usage_of_credits_without_a_total_is_unknown() -> None:
    assert read(get_credits_usage(), {"breakdown": {"by_tile": []}}).total_credits_used is None


@pytest.mark.parametrize("body", [{"usage": {"total": 120}}, {}, {"summary": {"truncated": False}}], ids=str)
def test_usage_of_credits_in_an_unknown_shape_is_an_error(body: Any) -> None:
    with pytest.raises(MosaicResponseError, match="'total_credits_used' is missing, and so are all rows"):
        read(get_credits_usage(), body)


def test_setting_of_the_top_up_that_is_not_reported_is_unknown() -> None:
    setting = read(set_auto_topup(enabled=True, threshold=5, quantity=10), {"success": True})
    assert (setting.eligible, setting.enabled, setting.threshold, setting.quantity) == (None, None, None, None)
    assert read(get_credits(), {"balance": 5}).auto_topup.enabled is None
    off = read(set_auto_topup(enabled=False), {"auto_topup": {"enabled": False, "quantity": 0}})
    assert (off.enabled, off.quantity) == (False, 0)


def test_null_counts_as_absent_beside_an_older_field() -> None:
    node = AgentNode.model_validate({"agent_node_id": "n", "node_type": None, "node_type_id": "t"})
    assert node.node_type.node_type_id == "t"
    change = read(update_agent("a", name="A"), {"agent_id": None, "agent": {"id": "a"}})
    assert change.agent_id == "a"
    form = {"video_id": "v", "upload_url": "https://s.example/", "upload_fields": None, "fields": {"key": "k"}}
    assert read(start_upload("video"), form).upload_fields == {"key": "k"}


def test_null_means_no_triggers_and_an_empty_body_is_an_error() -> None:
    assert list_triggers("a").result(Response(200, {}, b"null")) == ()
    with pytest.raises(MosaicResponseError, match="its body is empty") as caught:
        list_triggers("a").result(Response(204))
    assert caught.value.transient
