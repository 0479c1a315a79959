"""
Credits and plans (https://docs.mosaic.so/api/credits/get-credits, https://docs.mosaic.so/api/plan/get-plan).

Requests that move money are never retried: the API has no idempotency key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pydantic import Field, field_validator, model_validator

from airflow_provider_mosaic.api.arguments import (
    raise_invalid,
    validate_flag,
    validate_id,
    validate_integer,
    validate_url,
)
from airflow_provider_mosaic.api.call import Call, InvalidResponse, RetrySafety
from airflow_provider_mosaic.api.models import Flag, Many, Model, Time, Words, object_in, read_object
from airflow_provider_mosaic.api.paging import filters, read_list


def _merged(*objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of all objects. A later object replaces fields, except with a null, which counts as absent."""
    return {name: value for each in objects for name, value in each.items() if value is not None}


class AutoTopup(Model):
    """
    Automatic purchases: ``quantity`` credits whenever the balance falls below ``threshold``.

    A field is None if the response does not have it.
    """

    eligible: Flag | None = None
    enabled: Flag | None = None
    threshold: float | None = None
    quantity: float | None = None


class Credits(Model):
    """
    Credits left to spend.

    Whether the organization has a limit is documented for :func:`get_plan` only: the response of :func:`get_credits`
    has ``unlimited`` in March 2026 only.
    """

    balance: float | None = None
    unlimited: Flag = False
    plan: Words = None
    plan_id: Words = None
    auto_topup: AutoTopup = Field(default_factory=AutoTopup)

    lenient_fields = frozenset({"auto_topup"})

    @field_validator("plan", mode="before")
    @classmethod
    def _name_of_plan(cls, value: Any) -> Any:
        return value.get("family") or value.get("id") if isinstance(value, dict) else value

    @property
    def balance_text(self) -> str:
        """The balance in words, for messages."""
        if self.unlimited:
            return "unlimited"
        return "not reported" if self.balance is None else f"{self.balance:g} credits"


class UsageRow(Model):
    """Credits used by a tile on a day. ``tile_id`` or ``date`` is None in rows that are summed over it."""

    date: Words = None
    tile_id: Words = None
    tile_name: Words = None
    credits_used: int | float | None = None
    events: int | float | None = None


class CreditUsage(Model):
    """
    Credits used in a period. ``truncated`` is True if there were more events than the limit.

    The total is None if the response has rows only.
    """

    total_credits_used: int | float | None = None
    truncated: Flag = False
    by_tile: Many[UsageRow] = ()
    by_date: Many[UsageRow] = ()
    by_date_and_tile: Many[UsageRow] = ()


class PlanDetails(Model):
    """A plan of an organization."""

    id: Words = None
    family: Words = None
    status: Words = None
    started_at: Time = None
    current_period_start: Time = None
    current_period_end: Time = None
    canceled_at: Time = None


class Plan(Model):
    """The organization's plan, the plan that it will change to, if there is one, and its credits."""

    organization_id: Words = None
    plan: PlanDetails | None = None
    scheduled_plan: PlanDetails | None = None
    credits: Credits = Field(default_factory=Credits)

    lenient_fields = frozenset({"credits"})

    @field_validator("plan", "scheduled_plan", mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        # Credits name the plan by its family.
        return {"family": value} if isinstance(value, str) else value


class PlanOffer(Model):
    """A plan on offer. Prices are in US dollars."""

    id: str
    billing: Words = None
    price_usd: float | None = None
    credits_per_month: float | None = None
    top_up_rate_per_100_credits_usd: float | None = None
    notes: Words = None

    lenient_fields = frozenset({"price_usd", "credits_per_month", "top_up_rate_per_100_credits_usd"})

    @model_validator(mode="before")
    @classmethod
    def _one_price(cls, data: Any) -> Any:
        # Early 2026: one field for each billing period.
        if isinstance(data, Mapping) and data.get("price_usd") is None:
            for billing in ("monthly", "annual"):
                price = data.get(f"{billing}_price_usd")
                if isinstance(price, (int, float)) or (isinstance(price, str) and price.replace(".", "", 1).isdigit()):
                    return _merged({"billing": billing}, data, {"price_usd": price})
        return data


class PlanChange(Model):
    """Result of a plan change. If a checkout is required, a user has to finish it at ``checkout_url``."""

    requires_checkout: Flag = False
    checkout_url: Words = None
    plan_id: Words = None


def get_credits() -> Call[Credits]:
    """
    Return the credit balance and the settings of the automatic top-up.

    API page: https://docs.mosaic.so/api/credits/get-credits
    """

    def read(data: Any) -> Credits:
        body = object_in(data)
        # March 2026: the balance is under "credits".
        nested = body.get("credits")
        return Credits.model_validate(_merged(nested if isinstance(nested, dict) else {}, body))

    return Call(description="read the credits", path="/credits", read=read)


def get_credits_usage(
    *, start_date: date | str | None = None, end_date: date | str | None = None, limit: int | None = None
) -> Call[CreditUsage]:
    """
    Return the credits used, by tile and by day.

    API page: https://docs.mosaic.so/api/credits/get-credits-usage

    :param start_date: A date such as ``2026-09-01``, or a time with a time zone. Default: 30 days before the end.
    :param end_date: The same. Default: now.
    :param limit: Most events to count, 1 to 10,000.
    """
    if limit is not None:
        validate_integer("limit", limit, least=1, most=10_000)

    def read(data: Any) -> CreditUsage:
        body = object_in(data)
        summary, breakdown = (object_in(body.get(name) or {}) for name in ("summary", "breakdown"))
        usage = CreditUsage.model_validate(_merged(body, summary, breakdown))
        if usage.model_fields_set.isdisjoint({"total_credits_used", "by_tile", "by_date", "by_date_and_tile"}):
            raise InvalidResponse("the field 'total_credits_used' is missing, and so are all rows")
        return usage

    return Call(
        description="read the use of credits",
        path="/credits/usage",
        query={**filters(start_date=start_date, end_date=end_date), "limit": limit},
        read=read,
    )


def set_auto_topup(*, enabled: bool, threshold: float = 0, quantity: float = 0) -> Call[AutoTopup]:
    """
    Change the automatic purchase of credits. **Mosaic spends money later without asking.** Never retried.

    API page: https://docs.mosaic.so/api/credits/post-credits-settings

    :param enabled: Whether Mosaic buys credits automatically.
    :param threshold: Balance below which it buys, 0 to 1,000,000 credits.
    :param quantity: Credits to buy each time, 0 to 1,000,000.
    :returns: The settings in the response. If one is None, read it with :func:`get_credits`.
    :raises MosaicAmbiguousOutcomeError: The settings may have been changed. Read them with :func:`get_credits`.
    """
    validate_flag("enabled", enabled)
    for name, value in (("threshold", threshold), ("quantity", quantity)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1_000_000:
            raise_invalid(name, value, "it must be a number from 0 to 1,000,000.")
    return Call(
        description="change the automatic top-up",
        method="POST",
        path="/credits/settings",
        body={"auto_topup": {"enabled": enabled, "threshold": threshold, "quantity": quantity}},
        read=read_object(AutoTopup, within="auto_topup"),
        retry_safety=RetrySafety.NEVER,
    )


def get_plan() -> Call[Plan]:
    """Return the organization's plan. API page: https://docs.mosaic.so/api/plan/get-plan"""
    return Call(description="read the plan", path="/plan", read=read_object(Plan))


def list_plans() -> Call[tuple[PlanOffer, ...]]:
    """Return the plans on offer. API page: https://docs.mosaic.so/api/plan/get-plan-list"""
    return Call(description="list the plans", path="/plan/list", read=read_list("plans", PlanOffer))


def upgrade_plan(plan_id: str, *, success_url: str | None = None, cancel_url: str | None = None) -> Call[PlanChange]:
    """
    Change the plan. **It costs money at once, or returns a checkout to pay.** Never retried.

    API page: https://docs.mosaic.so/api/plan/post-plan-upgrade

    :param plan_id: An ``id`` of :func:`list_plans`.
    :param success_url: Where a paid checkout redirects to.
    :param cancel_url: Where a cancelled checkout redirects to.
    :raises MosaicAmbiguousOutcomeError: The plan may have been changed. Read it with :func:`get_plan`.
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
        read=read_object(PlanChange),
        retry_safety=RetrySafety.NEVER,
        # With a checkout, "success" is false until it is paid, and the HTTP status does not count.
        is_normal=_has_checkout,
    )


def _has_checkout(data: Any) -> bool:
    return isinstance(data, Mapping) and (
        data.get("requires_checkout") in (True, "true") or bool(data.get("checkout_url"))
    )
