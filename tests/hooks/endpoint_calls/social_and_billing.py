"""Avatar profiles, posts and the accounts that they go to, credits and the plan."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_mosaic.api.errors import MosaicPermissionError
from airflow_provider_mosaic.api.outcomes import avatar_profile_outcome, post_outcome
from hooks.all_endpoints import TODAY, CallEnvironment, by_name

YOUTUBE, X, LINKEDIN = (f"c0000000-0000-4000-8000-00000000000{number}" for number in (1, 4, 5))


# Avatars


def create_avatar_profile(day: CallEnvironment) -> None:
    profile = day.api.create_avatar_profile("Host", image_id=day.ids["image"], audio_id=day.ids["audio"])
    assert profile.id
    day.ids["avatar"] = profile.id


def get_avatar_profile(day: CallEnvironment) -> None:
    profile = day.until(
        lambda: day.api.get_avatar_profile(day.ids["avatar"]), lambda profile: avatar_profile_outcome(profile).ended
    )
    assert (profile.id, profile.name, profile.status) == (day.ids["avatar"], "Host", "ready")


def list_avatar_profiles(day: CallEnvironment) -> None:
    [profile] = day.api.list_avatar_profiles()
    assert (profile.id, profile.status) == (day.ids["avatar"], "ready")


# Social


def list_social_connections(day: CallEnvironment) -> None:
    connections = {each.social_connection_id: each.platform for each in day.api.list_social_connections()}
    assert len(connections) == 7
    assert (connections[YOUTUBE], connections[X]) == ("youtube", "x")


def get_social_connection(day: CallEnvironment) -> None:
    connection = day.api.get_social_connection(YOUTUBE)
    assert (connection.platform, connection.connected) == ("youtube", True)


def create_connect_link(day: CallEnvironment) -> None:
    link = day.api.create_connect_link("tiktok", connection_name="Second")
    made = day.mosaic.link_account(link.connect_url)
    assert made is not None
    day.ids["account"] = made["social_connection_id"]


def delete_social_connection(day: CallEnvironment) -> None:
    day.api.delete_social_connection(day.ids["account"])
    assert day.mosaic.counts().connections_deleted == 1


def create_post(day: CallEnvironment) -> None:
    day.ids["post"] = day.api.create_post("Premiere", social_connection_ids=[YOUTUBE, LINKEDIN]).post_id
    scheduled = day.api.create_post(
        "Tomorrow", social_connection_ids=[X], schedule_date=datetime.now(timezone.utc) + timedelta(days=1)
    )
    day.ids["scheduled"] = scheduled.post_id
    assert [post["post_id"] for post in day.mosaic.posts()] == [day.ids["post"], day.ids["scheduled"]]


def update_post(day: CallEnvironment) -> None:
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=2)
    if day.settings["approval"]:
        assert day.api.get_post(day.ids["post"]).status == "pending_approval"
        for name in ("post", "scheduled"):
            day.api.update_post(day.ids[name], approve=True)
    changed = day.api.update_post(day.ids["scheduled"], schedule_date=moment)
    assert changed.post_id == day.ids["scheduled"]
    assert day.api.get_post(day.ids["scheduled"]).scheduled_at == moment


def get_post(day: CallEnvironment) -> None:
    post = day.until(lambda: day.api.get_post(day.ids["post"]), lambda post: post_outcome(post).ended)
    assert (post.status, post.description) == ("posted", "Premiere")
    assert [(each.platform, bool(each.post_url), bool(each.platform_post_id)) for each in post.outcomes] == [
        ("youtube", True, True),
        ("linkedin", True, True),
    ]
    through_one = day.api.get_post(day.ids["post"], social_connection_id=YOUTUBE)
    assert [each.social_connection_id for each in through_one.destinations] == [YOUTUBE]
    day.mosaic.configure(failing_platforms={"x": "No credentials"})
    halved = day.ids["halved"] = day.api.create_post("Halved", social_connection_ids=[YOUTUBE, X]).post_id
    if day.settings["approval"]:
        day.api.update_post(halved, approve=True)
    post = day.until(lambda: day.api.get_post(halved), lambda post: post_outcome(post).ended)
    assert post.status == "partial_failure"
    assert [(each.platform, bool(each.post_url), each.message or None) for each in post.outcomes] == [
        ("youtube", True, None),
        ("x", False, "No credentials"),
    ]


def list_posts(day: CallEnvironment) -> None:
    assert {post.post_id: post.status for post in day.api.list_posts()} == {
        day.ids["post"]: "posted",
        day.ids["scheduled"]: "scheduled",
        day.ids["halved"]: "partial_failure",
    }
    [found] = day.api.list_posts(status="posted", platform="linkedin", social_connection_id=LINKEDIN)
    assert (found.post_id, found.description) == (day.ids["post"], "Premiere")


def get_post_analytics(day: CallEnvironment) -> None:
    analytics = day.api.get_post_analytics(day.ids["post"])
    assert analytics.post_id == day.ids["post"]
    assert [row["platform"] for row in analytics.as_rows()] == ["youtube", "linkedin"]
    assert analytics.totals["views"] == sum(row["views"] for row in analytics.as_rows())


def list_post_comments(day: CallEnvironment) -> None:
    comments = list(day.api.list_post_comments(day.ids["post"]))
    assert len({comment.comment_id for comment in comments}) == 6
    assert sum(comment.created_at is None for comment in comments) == 2


def delete_post(day: CallEnvironment) -> None:
    day.api.delete_post(day.ids["scheduled"])
    assert day.api.get_post(day.ids["scheduled"]).status == "rejected"


# Money


def get_credits(day: CallEnvironment) -> None:
    found = day.api.get_credits()
    assert found.balance == 10000
    plan = day.settings["plan"]
    assert found.plan == (None if plan is None else "professional" if plan.startswith("pro") else "creator")
    assert found.unlimited == (day.settings["credits_answer"] == "nested")


def get_credits_usage(day: CallEnvironment) -> None:
    usage = day.api.get_credits_usage(start_date=TODAY - timedelta(days=1), limit=500)
    assert usage.total_credits_used == sum(row.credits_used for row in usage.by_date_and_tile) > 0
    assert {row.tile_name for row in usage.by_tile} >= {"Captions", "Reframe"}
    assert not usage.truncated


def set_auto_topup(day: CallEnvironment) -> None:
    if day.settings["plan"] in (None, "pro"):
        with pytest.raises(MosaicPermissionError):
            day.api.set_auto_topup(enabled=True, threshold=100, quantity=500)
        return
    topup = day.api.set_auto_topup(enabled=True, threshold=100, quantity=500)
    assert (topup.enabled, topup.threshold, topup.quantity) == (True, 100, 500)


def get_plan(day: CallEnvironment) -> None:
    plan, details = day.settings["plan"], day.api.get_plan().plan
    if plan is None and day.settings["free_plan"] == "null":
        assert details is None
    else:
        assert details is not None
        assert details.id == (plan or "free")
        assert details.status == "active"


def list_plans(day: CallEnvironment) -> None:
    plans = {plan.id: plan for plan in day.api.list_plans()}
    assert set(plans) == {"creator", "creator_annual", "professional", "professional_annual"}
    assert plans["creator"].credits_per_month == 2500
    assert plans["creator"].price_usd == 50
    assert plans["creator_annual"].price_usd == 480


def upgrade_plan(day: CallEnvironment) -> None:
    wanted = "professional" if day.settings["plan"] == "professional_annual" else "professional_annual"
    change = day.api.upgrade_plan(wanted, success_url="https://example.org/paid")
    assert change.plan_id == wanted
    if day.settings["upgrade"] == "checkout":
        assert change.requires_checkout
        assert change.checkout_url is not None
        day.mosaic.pay_checkout(change.checkout_url)
    else:
        assert not change.requires_checkout
    counts = day.mosaic.counts()
    assert (counts.plan_upgrades, counts.checkouts_paid) in ((1, 0), (0, 1))


ENDPOINT_CALLS = by_name(
    create_avatar_profile,
    get_avatar_profile,
    list_avatar_profiles,
    list_social_connections,
    get_social_connection,
    create_connect_link,
    delete_social_connection,
    create_post,
    update_post,
    get_post,
    list_posts,
    get_post_analytics,
    list_post_comments,
    delete_post,
    get_credits,
    get_credits_usage,
    set_auto_topup,
    get_plan,
    list_plans,
    upgrade_plan,
)
