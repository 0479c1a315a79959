"""Operators for Mosaic."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mosaic.operators.agents import MosaicApplyAgentOperator
    from airflow_provider_mosaic.operators.assets import MosaicDownloadOutputsOperator, MosaicUploadOperator
    from airflow_provider_mosaic.operators.avatars import MosaicCreateAvatarProfileOperator
    from airflow_provider_mosaic.operators.runs import (
        MosaicCancelRunOperator,
        MosaicResumeRunOperator,
        MosaicRunAgentOperator,
    )
    from airflow_provider_mosaic.operators.social import MosaicPostAnalyticsOperator, MosaicSocialPostOperator
    from airflow_provider_mosaic.operators.triggers import MosaicYouTubeTriggerOperator

_MODULES = {
    "MosaicApplyAgentOperator": "agents",
    "MosaicCancelRunOperator": "runs",
    "MosaicCreateAvatarProfileOperator": "avatars",
    "MosaicDownloadOutputsOperator": "assets",
    "MosaicPostAnalyticsOperator": "social",
    "MosaicResumeRunOperator": "runs",
    "MosaicRunAgentOperator": "runs",
    "MosaicSocialPostOperator": "social",
    "MosaicUploadOperator": "assets",
    "MosaicYouTubeTriggerOperator": "triggers",
}

__all__ = [
    "MosaicApplyAgentOperator",
    "MosaicCancelRunOperator",
    "MosaicCreateAvatarProfileOperator",
    "MosaicDownloadOutputsOperator",
    "MosaicPostAnalyticsOperator",
    "MosaicResumeRunOperator",
    "MosaicRunAgentOperator",
    "MosaicSocialPostOperator",
    "MosaicUploadOperator",
    "MosaicYouTubeTriggerOperator",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
