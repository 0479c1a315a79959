"""The organization's plan, credits and usage."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from mosaic_emulator.catalogue import ORGANIZATION_ID, NodeType
from mosaic_emulator.core.clock import Clock
from mosaic_emulator.core.counters import Counters
from mosaic_emulator.settings import Settings

PlanId = Literal["creator", "creator_annual", "professional", "professional_annual", "pro"]


@dataclass(frozen=True)
class Plan:
    """A plan. Prices are samples."""

    id: PlanId
    family: str
    billing: str
    price_usd: float
    credits_per_month: int
    top_up_rate: float
    #: Whether ``GET /plan/list`` contains it, and whether it allows the automatic top-up.
    listed: bool = True


PLANS: Final[dict[str, Plan]] = {
    each.id: each
    for each in (
        Plan("creator", "creator", "monthly", 50, 2500, 2),
        Plan("creator_annual", "creator", "annual", 480, 2500, 2),
        Plan("professional", "professional", "monthly", 150, 10000, 1.6),
        Plan("professional_annual", "professional", "annual", 1500, 10000, 1.6),
        # Can be bought, but is not listed.
        Plan("pro", "professional", "monthly", 300, 20000, 1.6, listed=False),
    )
}
NO_TOP_UP: Final = {"enabled": False, "threshold": 0, "quantity": 0}
PERIOD: Final = timedelta(days=30)


def without_fraction(value: float) -> float | int:
    """Convert a whole number to an int."""
    return int(value) if float(value).is_integer() else value


@dataclass(frozen=True)
class Usage:
    """Credits that one node used."""

    at: datetime
    tile: NodeType
    credits: float


class Ledger:
    """Plan and credits. The balance and the plan are settings, so that a test can change them."""

    def __init__(self, *, settings: Settings, clock: Clock, counters: Counters) -> None:
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self.reset()

    def reset(self) -> None:
        """Reset to the middle of a billing period without usage."""
        now = self._clock.now()
        self.usage: list[Usage] = []
        self.auto_topup: dict[str, Any] = dict(NO_TOP_UP)
        self.scheduled: Plan | None = None
        self._checkouts: dict[str, PlanId] = {}
        self._since = now - timedelta(days=100)
        self._period = now - timedelta(days=10)

    @property
    def plan(self) -> Plan | None:
        """The current plan."""
        return PLANS[self._settings.plan] if self._settings.plan is not None else None

    @property
    def can_top_up(self) -> bool:
        """Whether the plan allows the automatic top-up."""
        return self.plan is not None and self.plan.listed

    # For runs

    def can_pay(self) -> bool:
        """Return whether the credits suffice for the next node, after an automatic top-up if enabled."""
        self._top_up()
        return self._settings.credits is None or self._settings.credits >= self._settings.node_credits

    def pay(self, tile: NodeType) -> None:
        """Charge the credits of one node."""
        price = self._settings.node_credits
        self.usage.append(Usage(self._clock.now(), tile, price))
        if self._settings.credits is not None:
            self._settings.credits -= price
        self._top_up()

    def _top_up(self) -> None:
        top_up, balance = self.auto_topup, self._settings.credits
        if balance is None or not top_up["enabled"] or not self.can_top_up or top_up["quantity"] <= 0:
            return
        if balance < top_up["threshold"]:
            self._settings.credits = balance + top_up["quantity"]
            self._counters.add("top_ups")

    # Purchases

    def change(self, plan: Plan) -> None:
        """Change the plan now, or schedule a cheaper one for the end of the period."""
        current = self.plan
        cheaper = current is not None and plan.price_usd / _months(plan) < current.price_usd / _months(current)
        if cheaper and self._settings.downgrade == "scheduled":
            self.scheduled = plan
            return
        now = self._clock.now()
        if current is None:
            self._since = now
        self._settings.plan = plan.id
        self._period, self.scheduled = now, None
        if self._settings.credits is not None:
            self._settings.credits += plan.credits_per_month

    def open_checkout(self, plan: Plan) -> str:
        """Open a checkout and return its token."""
        token = f"c_{secrets.token_hex(12)}"
        self._checkouts[token] = plan.id
        return token

    def pay_checkout(self, token: str) -> Plan | None:
        """Complete a checkout as a user would. Return None if the token is unknown or used."""
        plan_id = self._checkouts.pop(token, None)
        if plan_id is None:
            return None
        self.change(PLANS[plan_id])
        self._counters.add("checkouts_paid")
        return PLANS[plan_id]

    # JSON

    def _balance(self) -> float | int:
        left = self._settings.credits
        return without_fraction(self._settings.unlimited_balance if left is None else left)

    def _used(self) -> float | int:
        return without_fraction(sum(each.credits for each in self.usage if each.at >= self._period))

    def credits_json(self) -> dict[str, Any]:
        """Return the body of ``GET /credits``."""
        plan, text = self.plan, self._clock.text
        included = plan.credits_per_month if plan else 0
        if self._settings.credits_response == "nested":
            return {
                "organization_id": ORGANIZATION_ID,
                "credits": {
                    "balance": self._balance(),
                    "unlimited": self._settings.credits is None,
                    "usage": self._used(),
                    "included_usage": included,
                    "next_reset_at": text(self._period + PERIOD) if plan else None,
                },
                "plan": plan.family if plan else None,
            }
        return {
            "organization_id": ORGANIZATION_ID,
            "balance": self._balance(),
            "plan": plan.family if plan else None,
            "plan_id": plan.id if plan else None,
            "billing_cycle": {
                "current_period_start": text(self._period) if plan else None,
                "current_period_end": text(self._period + PERIOD) if plan else None,
            },
            "auto_topup": {"eligible": self.can_top_up, **(self.auto_topup if self.can_top_up else NO_TOP_UP)},
        }

    def plan_json(self) -> dict[str, Any]:
        """Return the body of ``GET /plan``."""
        plan = self.plan
        return {
            "organization_id": ORGANIZATION_ID,
            "plan": self._plan_json(plan),
            "scheduled_plan": self._plan_json(self.scheduled, scheduled=True) if self.scheduled else None,
            "credits": {
                "balance": self._balance(),
                "usage": self._used(),
                "included_usage": plan.credits_per_month if plan else 0,
                "unlimited": self._settings.credits is None,
            },
        }

    def _plan_json(self, plan: Plan | None, *, scheduled: bool = False) -> dict[str, Any] | None:
        if plan is None and self._settings.free_plan == "null":
            return None
        started = plan is not None and not scheduled
        return {
            "id": plan.id if plan else "free",
            "family": plan.family if plan else "free",
            "status": "scheduled" if scheduled else "active",
            "started_at": self._clock.text(self._since) if started else None,
            "current_period_start": self._clock.text(self._period) if started else None,
            "current_period_end": self._clock.text(self._period + PERIOD) if started else None,
            "canceled_at": None,
        }

    def usage_json(self, since: datetime, until: datetime, limit: int) -> dict[str, Any]:
        """Return the body of ``GET /credits/usage``. Only the last ``limit`` events count."""
        matching = [each for each in self.usage if since <= each.at <= until]
        shown = matching[-limit:]
        return {
            "organization_id": ORGANIZATION_ID,
            "date_range": {"start_date": self._clock.text(since), "end_date": self._clock.text(until)},
            "summary": {
                "total_credits_used": without_fraction(sum(each.credits for each in shown)),
                "total_events": len(shown),
                "matching_events": len(matching),
                "returned_events": len(shown),
                "truncated": len(shown) < len(matching),
            },
            "breakdown": {
                "by_tile": _summed(shown, _tile),
                "by_date": _summed(shown, _date),
                "by_date_and_tile": _summed(shown, lambda each: {**_date(each), **_tile(each)}),
            },
        }


def plans_json(form: str) -> list[dict[str, Any]]:
    """Return the plans of ``GET /plan/list``."""
    listed = [each for each in PLANS.values() if each.listed]
    if form == "billing":
        return [
            {
                "id": each.id,
                "billing": each.billing,
                "price_usd": without_fraction(each.price_usd),
                "credits_per_month": each.credits_per_month,
                "top_up_rate_per_100_credits_usd": without_fraction(each.top_up_rate),
                "notes": f"{each.family.capitalize()}, billed {'yearly' if each.billing == 'annual' else 'monthly'}",
            }
            for each in listed
        ]
    return [
        {
            "id": each.id,
            "aliases": [f"{each.id}_monthly"] if each.billing == "monthly" else [],
            "monthly_price_usd": without_fraction(each.price_usd) if each.billing == "monthly" else None,
            "annual_price_usd": without_fraction(each.price_usd) if each.billing == "annual" else None,
            "credits_per_month": each.credits_per_month,
            "top_up_rate_per_100_credits_usd": without_fraction(each.top_up_rate),
            "notes": None,
        }
        for each in listed
    ]


def known_plan(plan_id: str) -> Plan | None:
    """Return the plan with this id."""
    return PLANS[plan_id] if plan_id in get_args(PlanId) else None


def _months(plan: Plan) -> int:
    return 12 if plan.billing == "annual" else 1


def _tile(each: Usage) -> dict[str, Any]:
    return {"tile_id": each.tile.id, "tile_name": each.tile.name or None}


def _date(each: Usage) -> dict[str, Any]:
    return {"date": each.at.strftime("%Y-%m-%d")}


def _summed(events: Iterable[Usage], key: Callable[[Usage], dict[str, Any]]) -> list[dict[str, Any]]:
    groups: defaultdict[tuple[Any, ...], list[Usage]] = defaultdict(list)
    for each in events:
        groups[tuple(key(each).values())].append(each)
    return [
        {**key(group[0]), "credits_used": without_fraction(sum(each.credits for each in group)), "events": len(group)}
        for group in groups.values()
    ]
