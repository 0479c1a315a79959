"""Deferrable triggers for Mosaic."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mosaic.triggers.avatars import MosaicAvatarProfileTrigger
    from airflow_provider_mosaic.triggers.credits import MosaicCreditsTrigger
    from airflow_provider_mosaic.triggers.finished_runs import MosaicRunFinishedTrigger
    from airflow_provider_mosaic.triggers.runs import MosaicRunTrigger
    from airflow_provider_mosaic.triggers.social import MosaicSocialPostTrigger

_MODULES = {
    "MosaicAvatarProfileTrigger": "avatars",
    "MosaicCreditsTrigger": "credits",
    "MosaicRunFinishedTrigger": "finished_runs",
    "MosaicRunTrigger": "runs",
    "MosaicSocialPostTrigger": "social",
}

__all__ = [
    "MosaicAvatarProfileTrigger",
    "MosaicCreditsTrigger",
    "MosaicRunFinishedTrigger",
    "MosaicRunTrigger",
    "MosaicSocialPostTrigger",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
