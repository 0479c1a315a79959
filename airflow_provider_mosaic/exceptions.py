"""The public exceptions of the provider."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicConnectionError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicPostFailedError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
    MosaicServerError,
    MosaicTimeoutError,
    MosaicTransportError,
    MosaicValidationError,
)

if TYPE_CHECKING:
    from airflow_provider_mosaic.durable.failures import MosaicFailException

__all__ = [
    "MosaicAmbiguousOutcomeError",
    "MosaicAuthenticationError",
    "MosaicConflictError",
    "MosaicConnectionError",
    "MosaicError",
    "MosaicFailException",
    "MosaicNeedsCreditsError",
    "MosaicNotFoundError",
    "MosaicPermissionError",
    "MosaicPostFailedError",
    "MosaicRateLimitError",
    "MosaicResponseError",
    "MosaicRunCancelledError",
    "MosaicRunFailedError",
    "MosaicRunPartialError",
    "MosaicServerError",
    "MosaicTimeoutError",
    "MosaicTransportError",
    "MosaicValidationError",
]


def __getattr__(name: str) -> Any:
    # Its base class is Airflow's, and slow to import.
    if name == "MosaicFailException":
        return import_module("airflow_provider_mosaic.durable.failures").MosaicFailException
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
