"""Avatar profiles, social posts, credits and plans."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_mosaic.api.errors import MosaicPermissionError
from airflow_provider_mosaic.api.outcomes import avatar_profile_outcome, post_outcome
from hooks.all_endpoints import TODAY, CallEnvironment, by_name

YOUTUBE, X, LINKEDIN = (f"c0000000-0000-4000-8000-00000000000{number}" for number in (1, 4, 5))


# Avatars


def create_avatar_profile(env: CallEnvironment) -> None:
    profile = env.api.create_avatar_profile("Host", image_id=env.ids["image"], audio_id=env.ids["audio"])
    assert profile.id
    env.ids["avatar"] = profile.id


def get_avatar_profile(env: CallEnvironment) -> None:
    profile = env.wait_until(
        lambda: env.api.get_avatar_profile(env.ids["avatar"]), lambda profile: avatar_profile_outcome(profile).ended
    )
    assert (profile.id, profile.name, profile.status) == (env.ids["avatar"], "Host", "ready")


def list_avatar_profiles(env: CallEnvironment) -> None:
    [profile] = env.api.list_avatar_profiles()
    assert (profile.id, profile.status) == (env.ids["avatar"], "ready")


# Social


def list_social_connections(env: CallEnvironment) -> None:
    connections = {each.social_connection_id: each.platform for each in env.api.list_social_connections()}
    assert len(connections) == 7
    assert (connections[YOUTUBE], connections[X]) == ("youtube", "x")


def get_social_connection(env: CallEnvironment) -> None:
    connection = env.api.get_social_connection(YOUTUBE)
    assert (connection.platform, connection.connected) == ("youtube", True)


def create_connect_link(env: CallEnvironment) -> None:
    link = env.api.create_connect_link("tiktok", connection_name="Second")
    made = env.mosaic.link_account(link.connect_url)
    assert made is not None
    env.ids["account"] = made["social_connection_id"]


def delete_social_connection(env: CallEnvironment) -> None:
    env.api.delete_social_connection(env.ids["account"])
    assert env.mosaic.counts().connections_deleted == 1


def create_post(env: CallEnvironment) -> None:
    env.ids["post"] = env.api.create_post("Premiere", social_connection_ids=[YOUTUBE, LINKEDIN]).post_id
    scheduled = env.api.create_post(
        "Tomorrow", social_connection_ids=[X], schedule_date=datetime.now(timezone.utc) + timedelta(days=1)
    )
    env.ids["scheduled"] = scheduled.post_id
    assert [post["post_id"] for post in env.mosaic.posts()] == [env.ids["post"], env.ids["scheduled"]]


def update_post(env: CallEnvironment) -> None:
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=2)
    if env.settings["approval"]:
        assert env.api.get_post(env.ids["post"]).status == "pending_approval"
        for name in ("post", "scheduled"):
            env.api.update_post(env.ids[name], approve=True)
    changed = env.api.update_post(env.ids["scheduled"], schedule_date=moment)
    assert changed.post_id == env.ids["scheduled"]
    assert env.api.get_post(env.ids["scheduled"]).scheduled_at == moment


def get_post(env: CallEnvironment) -> None:
    post = env.wait_until(lambda: env.api.get_post(env.ids["post"]), lambda post: post_outcome(post).ended)
    assert (post.status, post.description) == ("posted", "Premiere")
    assert [(each.platform, bool(each.post_url), bool(each.platform_post_id)) for each in post.destination_results] == [
        ("youtube", True, True),
        ("linkedin", True, True),
    ]
    through_one = env.api.get_post(env.ids["post"], social_connection_id=YOUTUBE)
    assert [each.social_connection_id for each in through_one.destinations] == [YOUTUBE]
    env.mosaic.configure(failing_platforms={"x": "No credentials"})
    halved = env.ids["halved"] = env.api.create_post("Halved", social_connection_ids=[YOUTUBE, X]).post_id
    if env.settings["approval"]:
        env.api.update_post(halved, approve=True)
    post = env.wait_until(lambda: env.api.get_post(halved), lambda post: post_outcome(post).ended)
    assert post.status == "partial_failure"
    assert [(each.platform, bool(each.post_url), each.message or None) for each in post.destination_results] == [
        ("youtube", True, None),
        ("x", False, "No credentials"),
    ]


def list_posts(env: CallEnvironment) -> None:
    assert {post.post_id: post.status for post in env.api.list_posts()} == {
        env.ids["post"]: "posted",
        env.ids["scheduled"]: "scheduled",
        env.ids["halved"]: "partial_failure",
    }
    [found] = env.api.list_posts(status="posted", platform="linkedin", social_connection_id=LINKEDIN)
    assert (found.post_id, found.description) == (env.ids["post"], "Premiere")


def get_post_analytics(env: CallEnvironment) -> None:
    analytics = env.api.get_post_analytics(env.ids["post"])
    assert analytics.post_id == env.ids["post"]
    assert [row["platform"] for row in analytics.as_rows()] == ["youtube", "linkedin"]
    assert analytics.totals["views"] == sum(row["views"] for row in analytics.as_rows())


def list_post_comments(env: CallEnvironment) -> None:
    comments = list(env.api.list_post_comments(env.ids["post"]))
    assert len({comment.comment_id for comment in comments}) == 6
    assert sum(comment.created_at is None for comment in comments) == 2


def delete_post(env: CallEnvironment) -> None:
    env.api.delete_post(env.ids["scheduled"])
    assert env.api.get_post(env.ids["scheduled"]).status == "rejected"


# Credits and plans


def get_credits(env: CallEnvironment) -> None:
    found = env.api.get_credits()
    assert found.balance == 10000
    plan = env.settings["plan"]
    assert found.plan == (None if plan is None else "professional" if plan.startswith("pro") else "creator")
    assert found.unlimited == (env.settings["credits_response"] == "nested")


def get_credits_usage(env: CallEnvironment) -> None:
    usage = env.api.get_credits_usage(start_date=TODAY - timedelta(days=1), limit=500)
    assert usage.total_credits_used == sum(row.credits_used for row in usage.by_date_and_tile) > 0
    assert {row.tile_name for row in usage.by_tile} >= {"Captions", "Reframe"}
    assert not usage.truncated


def set_auto_topup(env: CallEnvironment) -> None:
    if env.settings["plan"] in (None, "pro"):
        with pytest.raises(MosaicPermissionError):
            env.api.set_auto_topup(enabled=True, threshold=100, quantity=500)
        return
    topup = env.api.set_auto_topup(enabled=True, threshold=100, quantity=500)
    assert (topup.enabled, topup.threshold, topup.quantity) == (True, 100, 500)


def get_plan(env: CallEnvironment) -> None:
    found = env.api.get_plan()
    plan, details = env.settings["plan"], found.plan
    assert found.credits.unlimited
    if plan is None and env.settings["free_plan"] == "null":
        assert details is None
    else:
        assert details is not None
        assert details.id == (plan or "free")
        assert details.status == "active"


def list_plans(env: CallEnvironment) -> None:
    plans = {plan.id: plan for plan in env.api.list_plans()}
    assert set(plans) == {"creator", "creator_annual", "professional", "professional_annual"}
    assert plans["creator"].credits_per_month == 2500
    assert plans["creator"].price_usd == 50
    assert plans["creator_annual"].price_usd == 480


def upgrade_plan(env: CallEnvironment) -> None:
    other_plan = "professional" if env.settings["plan"] == "professional_annual" else "professional_annual"
    change = env.api.upgrade_plan(other_plan, success_url="https://example.org/paid")
    assert change.plan_id == other_plan
    if env.settings["upgrade"] == "checkout":
        assert change.requires_checkout
        assert change.checkout_url is not None
        env.mosaic.pay_checkout(change.checkout_url)
    else:
        assert not change.requires_checkout
    counts = env.mosaic.counts()
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
