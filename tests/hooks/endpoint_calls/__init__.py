"""Every method of the hook, in an order in which each finds what it needs."""

from __future__ import annotations

from . import agents_and_assets, hook_methods, runs_and_triggers, social_and_billing

#: CallEnvironment, by the name of the method.
ENDPOINT_CALLS = agents_and_assets.ENDPOINT_CALLS | runs_and_triggers.ENDPOINT_CALLS | social_and_billing.ENDPOINT_CALLS
#: What the hook of workers has beside them.
HOOK_CALLS = hook_methods.ENDPOINT_CALLS
