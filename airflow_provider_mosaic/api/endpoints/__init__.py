"""
The endpoints of the Mosaic API: one module a resource, with functions that return calls, and models of the responses.

Each function is also a method of ``MosaicHook``, which sends the call and returns the result. Each may raise, besides
what its docstring names:

- ``MosaicValidationError``: an argument is invalid. Nothing was sent.
- ``MosaicAuthenticationError``, ``MosaicPermissionError``: the API key is invalid, or lacks a scope.
- ``MosaicNotFoundError``: an id does not exist, or belongs to another organization.
- ``MosaicRateLimitError``, ``MosaicServerError``, ``MosaicTransportError``: the retries did not help.
- ``MosaicResponseError``: the response can't be read.

Only :func:`~airflow_provider_mosaic.api.endpoints.runs.start_run` is documented to cost credits. What a resume and an
avatar profile cost is not documented.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.endpoints import (
        account,
        agents,
        assets,
        avatars,
        billing,
        engagement,
        observability,
        posts,
        runs,
        social_connections,
        storage_watchers,
        triggers,
    )

__all__ = [
    "account",
    "agents",
    "assets",
    "avatars",
    "billing",
    "engagement",
    "observability",
    "posts",
    "runs",
    "social_connections",
    "storage_watchers",
    "triggers",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
