"""
Credits and plans (https://docs.mosaic.so/api/credits/get-credits, https://docs.mosaic.so/api/plan/get-plan).

What moves money is never sent again by itself: the API has nothing that would make it safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import field_validator, model_validator

from airflow_provider_mosaic.api.arguments import optional_moment, raise_invalid, validate_id, validate_url
from airflow_provider_mosaic.api.call import Call, RetrySafety
from airflow_provider_mosaic.api.models import Flag, Many, Model, Time, Words, list_in, object_in


class AutoTopup(Model):
    """When credits are bought by themselves: ``quantity`` of them whenever the balance falls below ``threshold``."""

    eligible: Flag = False
    enabled: Flag = False
    threshold: float = 0
    quantity: float = 0


class Credits(Model):
    """What is left to spend. ``unlimited`` is known only in an older form of the answer."""

    balance: float | None = None
    unlimited: Flag = False
    plan: Words = None
    plan_id: Words = None
    auto_topup: AutoTopup = AutoTopup()

    @field_validator("plan", mode="before")
    @classmethod
    def _name_of_plan(cls, value: Any) -> Any:
        return value.get("family") or value.get("id") if isinstance(value, dict) else value


def balance_words(credits: Credits) -> str:
    """
    The balance in a few words.

    :param credits: What is left to spend.
    """
    if credits.unlimited:
        return "unlimited"
    return "not told" if credits.balance is None else f"{credits.balance:g} credits"


class UsageRow(Model):
    """Credits that a tile used on a day; ``tile_id`` or ``date`` is None where the rows are summed over it."""

    date: Words = None
    tile_id: Words = None
    tile_name: Words = None
    credits_used: int | float = 0
    events: int | float = 0


class CreditUsage(Model):
    """Credits used in a range of time. ``truncated``: there were more events than were counted."""

    total_credits_used: int | float = 0
    truncated: Flag = False
    by_tile: Many[UsageRow] = ()
    by_date: Many[UsageRow] = ()
    by_date_and_tile: Many[UsageRow] = ()


class PlanDetails(Model):
    """A plan that an organization has."""

    id: Words = None
    family: Words = None
    status: Words = None
    started_at: Time = None
    current_period_start: Time = None
    current_period_end: Time = None
    canceled_at: Time = None


class Plan(Model):
    """The organization's plan, and the one that it changes to, if it does."""

    organization_id: Words = None
    plan: PlanDetails | None = None
    scheduled_plan: PlanDetails | None = None


class PlanOffer(Model):
    """A plan that can be had."""

    id: str
    billing: Words = None
    price_usd: float | None = None
    credits_per_month: float | None = None
    top_up_rate_per_100_credits_usd: float | None = None
    notes: Words = None

    @model_validator(mode="before")
    @classmethod
    def _one_price(cls, data: Any) -> Any:
        # In early 2026 there was a field for each way of billing.
        if isinstance(data, Mapping) and data.get("price_usd") is None:
            for billing in ("monthly", "annual"):
                price = data.get(f"{billing}_price_usd")
                if price is not None:
                    return {"billing": billing, **data, "price_usd": price}
        return data


class PlanChange(Model):
    """What an upgrade came to. Where a checkout is required, a person has to finish it at ``checkout_url``."""

    requires_checkout: Flag = False
    checkout_url: Words = None
    plan_id: Words = None


def get_credits() -> Call[Credits]:
    """The balance, and the automatic top-up."""

    def read(data: Any) -> Credits:
        answer = object_in(data)
        # In March 2026 the balance was one level deeper.
        nested = answer.get("credits")
        return Credits.model_validate({**(nested if isinstance(nested, dict) else {}), **answer})

    return Call(description="read the credits", method="GET", path="/credits", read=read)


def get_credits_usage(
    *, start_date: datetime | str | None = None, end_date: datetime | str | None = None, limit: int | None = None
) -> Call[CreditUsage]:
    """
    Credits used, by tile and by day (https://docs.mosaic.so/api/credits/get-credits-usage).

    :param start_date: Since when. Default: 30 days before the end.
    :param end_date: Until when. Default: now.
    :param limit: How many events are counted at most, 1 to 10000.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 10_000):
        raise_invalid("limit", limit, "it must be a whole number from 1 to 10000.")

    def read(data: Any) -> CreditUsage:
        answer = object_in(data)
        parts = (answer.get("summary") or {}, answer.get("breakdown") or {})
        return CreditUsage.model_validate({**object_in(parts[0]), **object_in(parts[1])})

    return Call(
        description="read the use of credits",
        method="GET",
        path="/credits/usage",
        query={
            "start_date": optional_moment("start_date", start_date),
            "end_date": optional_moment("end_date", end_date),
            "limit": limit,
        },
        read=read,
    )


def set_auto_topup(*, enabled: bool, threshold: float = 0, quantity: float = 0) -> Call[AutoTopup]:
    """
    Switch the automatic top-up. **It spends money later** (https://docs.mosaic.so/api/credits/post-credits-settings).

    :param enabled: Whether credits are bought by themselves.
    :param threshold: Below which balance, 0 to 1,000,000.
    :param quantity: How many each time, 0 to 1,000,000.
    """
    for name, value in (("threshold", threshold), ("quantity", quantity)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1_000_000:
            raise_invalid(name, value, "it must be a number from 0 to 1,000,000.")
    if not isinstance(enabled, bool):
        raise_invalid("enabled", enabled, "it must be True or False.")

    def read(data: Any) -> AutoTopup:
        answer = object_in(data)
        return AutoTopup.model_validate(answer.get("auto_topup") or answer)

    return Call(
        description="change the automatic top-up",
        method="POST",
        path="/credits/settings",
        body={"auto_topup": {"enabled": enabled, "threshold": threshold, "quantity": quantity}},
        read=read,
        retry_safety=RetrySafety.NEVER,
    )


def get_plan() -> Call[Plan]:
    """The organization's plan."""
    return Call(description="read the plan", method="GET", path="/plan", read=Plan.model_validate)


def list_plans() -> Call[tuple[PlanOffer, ...]]:
    """The plans that can be had."""

    def read(data: Any) -> tuple[PlanOffer, ...]:
        return tuple(PlanOffer.model_validate(item) for item in list_in(data, "plans"))

    return Call(description="list the plans", method="GET", path="/plan/list", read=read)


def upgrade_plan(plan_id: str, *, success_url: str | None = None, cancel_url: str | None = None) -> Call[PlanChange]:
    """
    Change the plan. **It costs money, or asks for a checkout** (https://docs.mosaic.so/api/plan/post-plan-upgrade).

    :param plan_id: The plan's id, as :func:`list_plans` gives it.
    :param success_url: Where a checkout leads when it is paid.
    :param cancel_url: Where a checkout leads when it is not.
    """
    body = {"plan_id": validate_id("plan_id", plan_id)}
    for name, value in (("success_url", success_url), ("cancel_url", cancel_url)):
        if value is not None:
            body[name] = validate_url(name, value)
    return Call(
        description=f"change the plan to {plan_id!r}",
        method="POST",
        path="/plan/upgrade",
        body=body,
        read=PlanChange.model_validate,
        retry_safety=RetrySafety.NEVER,
        # With a checkout, success is false until a person has paid.
        is_normal=lambda data: bool(data.get("requires_checkout") or data.get("checkout_url")),
    )
