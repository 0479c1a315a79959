"""Credits and plans. Two of these endpoints move money."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from mosaic_emulator.account.billing import known_plan, number, plans_json
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.request_context import Asked

router = APIRouter()

MOST = 1_000_000
MOST_EVENTS = 10_000


class AutoTopUp(BaseModel):
    """The automatic top-up; all of it has to be said."""

    model_config = ConfigDict(extra="allow", strict=True)

    enabled: bool
    threshold: float
    quantity: float


class SettingsBody(BaseModel):
    """Body of ``POST /credits/settings``."""

    model_config = ConfigDict(extra="allow", strict=True)

    auto_topup: AutoTopUp


class UpgradeBody(BaseModel):
    """Body of ``POST /plan/upgrade``."""

    model_config = ConfigDict(extra="allow", strict=True)

    plan_id: str
    success_url: str | None = None
    cancel_url: str | None = None


@router.get("/credits")
async def get_credits(exchange: Asked) -> Response:
    """Tell balance, plan, period and top-up."""
    exchange.known_query()
    return exchange.answer(exchange.world.ledger.credits_json())


@router.get("/credits/usage")
async def get_credits_usage(exchange: Asked) -> Response:
    """Tell what used credits in a range of time."""
    exchange.known_query("start_date", "end_date", "limit")
    until = exchange.time("end_date", whole_day=True) or exchange.world.clock.now()
    since = exchange.time("start_date") or until - timedelta(days=30)
    if since > until:
        raise exchange.refuse("start_date: lies behind end_date", "query", "start_date")
    limit = exchange.number("limit", 5000, 1, MOST_EVENTS)
    return exchange.answer(exchange.world.ledger.usage_json(since, until, limit))


@router.post("/credits/settings")
async def set_auto_topup(exchange: Asked) -> Response:
    """Set the automatic top-up, which buys credits later."""
    ledger = exchange.world.ledger
    wanted = exchange.body(SettingsBody).auto_topup
    if not ledger.can_top_up:
        raise ApiError(403, "The plan does not allow automatic top-ups")
    for name in ("threshold", "quantity"):
        if not 0 <= getattr(wanted, name) <= MOST:
            status = exchange.settings.out_of_range_status
            raise ApiError(status, f"{name}: must be between 0 and {MOST}", location=("body", "auto_topup", name))
    ledger.auto_topup = {
        "enabled": wanted.enabled,
        "threshold": number(wanted.threshold),
        "quantity": number(wanted.quantity),
    }
    exchange.world.tally.add("settings_changed")
    return exchange.answer({"auto_topup": ledger.auto_topup})


@router.get("/plan")
async def get_plan(exchange: Asked) -> Response:
    """Tell the plan."""
    exchange.known_query()
    return exchange.answer(exchange.world.ledger.plan_json())


@router.get("/plan/list")
async def list_plans(exchange: Asked) -> Response:
    """List the plans that can be bought."""
    exchange.known_query()
    return exchange.answer({"plans": plans_json(exchange.settings.plan_list_answer)})


@router.post("/plan/upgrade")
async def upgrade_plan(exchange: Asked) -> Response:
    """Change the plan, up, sideways or down: at once, or by a checkout that a human pays."""
    world, settings = exchange.world, exchange.settings
    body = exchange.body(UpgradeBody)
    plan = known_plan(body.plan_id)
    if plan is None:
        raise exchange.refuse("plan_id: there is no such plan", "body", "plan_id")
    for name in ("success_url", "cancel_url"):
        url = getattr(body, name)
        if url is not None and not is_http_url(url):
            raise exchange.refuse(f"{name}: not an http or https URL", "body", name)
    same = settings.plan == plan.id
    if same and settings.same_plan_status != 200:
        raise ApiError(settings.same_plan_status, f"The plan is {plan.id} already")
    if settings.upgrade == "checkout" and not same:
        token = world.ledger.open_checkout(plan)
        world.tally.add("checkouts_opened")
        return exchange.answer(
            {
                "success": False,
                "requires_checkout": True,
                "plan_id": plan.id,
                "checkout_url": f"{exchange.request.base_url}_emulator/checkout/{token}",
            }
        )
    if not same:
        world.ledger.change(plan)
        world.tally.add("plan_upgrades")
    return exchange.answer(
        {"success": True, "requires_checkout": False, "plan_id": plan.id, settings.plan_family_key: plan.family}
    )
