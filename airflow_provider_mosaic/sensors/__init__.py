"""Sensors for Mosaic."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mosaic.sensors.avatars import MosaicAvatarProfileSensor
    from airflow_provider_mosaic.sensors.credits import MosaicCreditsSensor
    from airflow_provider_mosaic.sensors.runs import MosaicRunSensor
    from airflow_provider_mosaic.sensors.social import MosaicSocialPostSensor

_MODULES = {
    "MosaicAvatarProfileSensor": "avatars",
    "MosaicCreditsSensor": "credits",
    "MosaicRunSensor": "runs",
    "MosaicSocialPostSensor": "social",
}

__all__ = [
    "MosaicAvatarProfileSensor",
    "MosaicCreditsSensor",
    "MosaicRunSensor",
    "MosaicSocialPostSensor",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
