"""Sensors for Mosaic."""

from __future__ import annotations

from airflow_provider_mosaic.sensors.avatars import MosaicAvatarProfileSensor
from airflow_provider_mosaic.sensors.credits import MosaicCreditsSensor
from airflow_provider_mosaic.sensors.runs import MosaicRunSensor
from airflow_provider_mosaic.sensors.social import MosaicSocialPostSensor

__all__ = [
    "MosaicAvatarProfileSensor",
    "MosaicCreditsSensor",
    "MosaicRunSensor",
    "MosaicSocialPostSensor",
]
