from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from .conftest import Api

URL = {"video_urls": ["https://cdn.example.org/a.mp4"]}
TOP_UP = {"enabled": True, "threshold": 25, "quantity": 100}


def credits(api: Api) -> dict[str, Any]:
    return dict(api.get("/credits").json())


def test_credits_shapes(api: Api) -> None:
    api.mosaic.configure(credits=731)
    body = credits(api)
    assert set(body) == {"organization_id", "balance", "plan", "plan_id", "billing_cycle", "auto_topup"}
    assert (body["balance"], body["plan"], body["plan_id"]) == (731, "professional", "professional")
    assert body["auto_topup"] == {"eligible": True, "enabled": False, "threshold": 0, "quantity": 0}
    api.mosaic.configure(credits_response="nested", credits=0.5)
    nested = credits(api)
    assert set(nested) == {"organization_id", "credits", "plan"}
    assert (nested["credits"]["balance"], nested["credits"]["unlimited"]) == (0.5, False)
    api.mosaic.configure(credits=None, unlimited_balance=-1)
    assert (credits(api)["credits"]["balance"], credits(api)["credits"]["unlimited"]) == (-1, True)


def test_runs_cost_credits_and_usage_lists_them(api: Api) -> None:
    api.mosaic.configure(credits=100)
    api.finished(body=URL)
    assert credits(api)["balance"] == 70
    body = api.get("/credits/usage").json()
    assert (body["summary"]["total_credits_used"], body["summary"]["total_events"]) == (30, 3)
    assert body["summary"]["truncated"] is False
    names = {each["tile_name"]: each["credits_used"] for each in body["breakdown"]["by_tile"]}
    assert names == {"Rough Cut": 10, "Reframe": 10, "Captions": 10}
    assert body["breakdown"]["by_date"][0]["events"] == 3
    assert set(body["breakdown"]["by_date_and_tile"][0]) == {"date", "tile_id", "tile_name", "credits_used", "events"}
    cut = api.get("/credits/usage", params={"limit": 2}).json()["summary"]
    assert (cut["total_events"], cut["matching_events"], cut["truncated"]) == (2, 3, True)


def test_usage_by_date_range(api: Api) -> None:
    api.finished(body=URL)
    today = datetime.now(timezone.utc)

    def used(**query: str) -> int:
        return int(api.get("/credits/usage", params=query).json()["summary"]["total_credits_used"])

    assert used(end_date=today.date().isoformat()) == 30
    assert used(end_date=(today - timedelta(days=1)).date().isoformat()) == 0
    assert used(start_date=(today + timedelta(minutes=1)).isoformat(), end_date="2099-01-01") == 0
    for query in ({"limit": 0}, {"limit": 10001}, {"start_date": "2099-01-01"}, {"end_date": "never"}, {"cursor": "x"}):
        assert api.get("/credits/usage", params=query).status_code == 400


def test_top_up_buys_credits_below_the_threshold(api: Api) -> None:
    api.mosaic.configure(credits=40)
    response = api.post("/credits/settings", {"auto_topup": TOP_UP})
    assert response.json() == {"auto_topup": TOP_UP}
    assert credits(api)["auto_topup"] == {"eligible": True, **TOP_UP}
    assert api.finished(body=URL)["status"] == "completed"
    assert credits(api)["balance"] == 110
    assert (api.mosaic.counts().settings_changed, api.mosaic.counts().top_ups) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        TOP_UP,
        {"auto_topup": {"enabled": True}},
        {"auto_topup": {**TOP_UP, "enabled": 1}},
        {"auto_topup": {**TOP_UP, "quantity": True}},
        {"auto_topup": {**TOP_UP, "quantity": -1}},
        {"auto_topup": {**TOP_UP, "threshold": 1_000_001}},
        {"auto_topup": {**TOP_UP, "eligible": True}},
    ],
)
def test_invalid_top_up_is_rejected(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/credits/settings", body).status_code == 400
    assert api.mosaic.counts().settings_changed == 0


def test_top_up_requires_an_eligible_plan(api: Api) -> None:
    for plan in (None, "pro"):
        api.mosaic.configure(plan=plan)
        response = api.post("/credits/settings", {"auto_topup": TOP_UP})
        assert (response.status_code, list(response.json())) == (403, ["detail"])
        assert credits(api)["auto_topup"] == {"eligible": False, "enabled": False, "threshold": 0, "quantity": 0}
    api.mosaic.configure(plan="creator", out_of_range_status=422)
    assert api.post("/credits/settings", {"auto_topup": {**TOP_UP, "quantity": -1}}).status_code == 422


def test_plan_shapes(api: Api) -> None:
    plan = api.get("/plan").json()
    assert (plan["plan"]["id"], plan["plan"]["status"], plan["scheduled_plan"]) == ("professional", "active", None)
    assert plan["credits"]["unlimited"] is True
    api.mosaic.configure(plan=None)
    assert api.get("/plan").json()["plan"] is None
    assert credits(api)["plan"] is None
    assert credits(api)["billing_cycle"] == {"current_period_start": None, "current_period_end": None}
    api.mosaic.configure(free_plan="object")
    assert api.get("/plan").json()["plan"]["id"] == "free"


def test_plan_list_shapes(api: Api) -> None:
    plans = api.get("/plan/list").json()["plans"]
    assert {each["id"]: (each["billing"], each["price_usd"]) for each in plans} == {
        "creator": ("monthly", 50),
        "creator_annual": ("annual", 480),
        "professional": ("monthly", 150),
        "professional_annual": ("annual", 1500),
    }
    api.mosaic.configure(plan_list_response="prices")
    assert "annual_price_usd" in api.get("/plan/list").json()["plans"][0]


def test_upgrade_is_immediate(api: Api) -> None:
    api.mosaic.configure(plan="creator", credits=5)
    response = api.post("/plan/upgrade", {"plan_id": "professional_annual"})
    assert response.json() == {
        "success": True,
        "requires_checkout": False,
        "plan_id": "professional_annual",
        "plan_family": "professional",
    }
    assert api.get("/plan").json()["plan"]["id"] == "professional_annual"
    assert credits(api)["balance"] == 10005
    assert api.post("/plan/upgrade", {"plan_id": "professional_annual"}).status_code == 409
    api.mosaic.configure(plan_family_key="family", same_plan_status=200)
    assert api.post("/plan/upgrade", {"plan_id": "professional_annual"}).json()["family"] == "professional"
    assert api.mosaic.counts().plan_upgrades == 1


def test_upgrade_by_checkout(api: Api) -> None:
    api.mosaic.configure(plan=None, credits=0, upgrade="checkout")
    run_id = api.start(body=URL)
    assert api.end(run_id)["needs_credits"] is True
    body = api.post("/plan/upgrade", {"plan_id": "pro", "success_url": "https://example.org"}).json()
    assert (body["success"], body["requires_checkout"]) == (False, True)
    assert api.get("/plan").json()["plan"] is None
    counts = api.mosaic.counts()
    assert (counts.checkouts_opened, counts.checkouts_paid, counts.plan_upgrades) == (1, 0, 0)
    api.mosaic.pay_checkout(body["checkout_url"])
    assert api.get("/plan").json()["plan"]["id"] == "pro"
    with pytest.raises(LookupError):
        api.mosaic.pay_checkout(body["checkout_url"])
    assert api.mosaic.counts().checkouts_paid == 1
    api.post(f"/agent_run/{run_id}/resume")
    assert api.end(run_id)["status"] == "completed"


def test_cheaper_plan_is_scheduled(api: Api) -> None:
    assert api.post("/plan/upgrade", {"plan_id": "creator_annual"}).status_code == 200
    plan = api.get("/plan").json()
    assert (plan["plan"]["id"], plan["scheduled_plan"]["id"]) == ("professional", "creator_annual")
    api.mosaic.configure(downgrade="immediate")
    api.post("/plan/upgrade", {"plan_id": "creator"})
    plan = api.get("/plan").json()
    assert (plan["plan"]["id"], plan["scheduled_plan"]) == ("creator", None)


@pytest.mark.parametrize(
    "body", [{}, {"plan_id": "free"}, {"plan_id": 3}, {"plan": "pro"}, {"plan_id": "pro", "cancel_url": "back"}]
)
def test_invalid_upgrade_changes_nothing(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/plan/upgrade", body).status_code == 400
    assert api.get("/plan").json()["plan"]["id"] == "professional"
    assert api.mosaic.counts().plan_upgrades == 0


def test_upgrade_with_a_lost_response_is_effective(api: Api) -> None:
    api.mosaic.inject("response_lost", method="POST", path="/plan/upgrade")
    with pytest.raises(httpx.RemoteProtocolError):
        api.post("/plan/upgrade", {"plan_id": "pro"})
    assert api.get("/plan").json()["plan"]["id"] == "pro"
    assert api.mosaic.counts().plan_upgrades == 1
