"""Credits and plans."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.account.billing import known_plan, plans_json, without_fraction
from mosaic_emulator.core.json_bodies import RequestBody
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.routes.request_context import Context

router = APIRouter()

MAX_AMOUNT = 1_000_000
MAX_EVENTS = 10_000


class AutoTopUp(RequestBody):
    """The automatic top-up. All fields are required."""

    enabled: bool
    threshold: float
    quantity: float


class SettingsBody(RequestBody):
    """Body of ``POST /credits/settings``."""

    auto_topup: AutoTopUp


class UpgradeBody(RequestBody):
    """Body of ``POST /plan/upgrade``."""

    plan_id: str
    success_url: str | None = None
    cancel_url: str | None = None


@router.get("/credits")
async def get_credits(context: Context) -> Response:
    """Return the balance, the plan, the billing cycle and the automatic top-up."""
    context.allow_query()
    return context.respond(context.state.ledger.credits_json())


@router.get("/credits/usage")
async def get_credits_usage(context: Context) -> Response:
    """Return the usage of credits in a time range."""
    context.allow_query("start_date", "end_date", "limit")
    until = context.query_time("end_date", whole_day=True) or context.state.clock.now()
    since = context.query_time("start_date") or until - timedelta(days=30)
    if since > until:
        raise context.invalid_request("start_date: is after end_date", "query", "start_date")
    limit = context.query_int("limit", 5000, 1, MAX_EVENTS)
    return context.respond(context.state.ledger.usage_json(since, until, limit))


@router.post("/credits/settings")
async def set_auto_topup(context: Context) -> Response:
    """Set the automatic top-up, which buys credits later."""
    ledger = context.state.ledger
    top_up = context.body(SettingsBody).auto_topup
    if not ledger.can_top_up:
        raise ApiError(403, "The plan does not allow automatic top-ups")
    for name in ("threshold", "quantity"):
        if not 0 <= getattr(top_up, name) <= MAX_AMOUNT:
            status = context.settings.out_of_range_status
            raise ApiError(status, f"{name}: must be between 0 and {MAX_AMOUNT}", location=("body", "auto_topup", name))
    ledger.auto_topup = {
        "enabled": top_up.enabled,
        "threshold": without_fraction(top_up.threshold),
        "quantity": without_fraction(top_up.quantity),
    }
    context.state.counters.add("settings_changed")
    return context.respond({"auto_topup": ledger.auto_topup})


@router.get("/plan")
async def get_plan(context: Context) -> Response:
    """Return the plan."""
    context.allow_query()
    return context.respond(context.state.ledger.plan_json())


@router.get("/plan/list")
async def list_plans(context: Context) -> Response:
    """List the available plans."""
    context.allow_query()
    return context.respond({"plans": plans_json(context.settings.plan_list_response)})


@router.post("/plan/upgrade")
async def upgrade_plan(context: Context) -> Response:
    """Change the plan, immediately or by a checkout that a user pays."""
    state, settings = context.state, context.settings
    body = context.body(UpgradeBody)
    plan = known_plan(body.plan_id)
    if plan is None:
        raise context.invalid_request("plan_id: unknown plan", "body", "plan_id")
    for name in ("success_url", "cancel_url"):
        url = getattr(body, name)
        if url is not None and not is_http_url(url):
            raise context.invalid_request(f"{name}: not an http or https URL", "body", name)
    same = settings.plan == plan.id
    if same and settings.same_plan_status != 200:
        raise ApiError(settings.same_plan_status, f"The plan is already {plan.id}")
    if settings.upgrade == "checkout" and not same:
        token = state.ledger.open_checkout(plan)
        state.counters.add("checkouts_opened")
        return context.respond(
            {
                "success": False,
                "requires_checkout": True,
                "plan_id": plan.id,
                "checkout_url": f"{context.request.base_url}_emulator/checkout/{token}",
            }
        )
    if not same:
        state.ledger.change(plan)
        state.counters.add("plan_upgrades")
    return context.respond(
        {"success": True, "requires_checkout": False, "plan_id": plan.id, settings.plan_family_key: plan.family}
    )
