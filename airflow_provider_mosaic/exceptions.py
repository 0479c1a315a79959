"""The exceptions of the provider, by what to do about them."""

from __future__ import annotations

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

__all__ = [
    "MosaicAmbiguousOutcomeError",
    "MosaicAuthenticationError",
    "MosaicConflictError",
    "MosaicConnectionError",
    "MosaicError",
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
