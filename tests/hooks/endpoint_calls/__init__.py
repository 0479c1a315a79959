"""A call of every method of the hook, in an order in which each finds what it needs."""

from __future__ import annotations

from . import agents_and_assets, hook_methods, runs_and_triggers, social_and_billing

#: Calls of endpoints, by method.
ENDPOINT_CALLS = agents_and_assets.ENDPOINT_CALLS | runs_and_triggers.ENDPOINT_CALLS | social_and_billing.ENDPOINT_CALLS
#: Calls of other methods, which send several requests.
HOOK_CALLS = hook_methods.ENDPOINT_CALLS
