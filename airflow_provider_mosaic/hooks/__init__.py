"""The hook of the Mosaic API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook

__all__ = ["MosaicHook"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook

        return MosaicHook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
