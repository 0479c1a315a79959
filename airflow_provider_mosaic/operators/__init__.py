"""Operators for Mosaic."""

from __future__ import annotations

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
