"""Every method of the hook, in an order in which each finds what it needs."""

from __future__ import annotations

from . import agents_and_assets, people_and_money, runs_and_triggers, verbs_of_the_hook

#: Endpoints, by the name of the method.
ACTS = agents_and_assets.ACTS | runs_and_triggers.ACTS | people_and_money.ACTS
#: What the hook of workers has beside them.
ACTS_OF_THE_HOOK = verbs_of_the_hook.ACTS
