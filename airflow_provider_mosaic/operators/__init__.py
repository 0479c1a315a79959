"""Tasks that do something with Mosaic."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mosaic.operators.assets import MosaicDownloadOutputsOperator, MosaicUploadOperator
    from airflow_provider_mosaic.operators.runs import MosaicRunAgentOperator
    from airflow_provider_mosaic.operators.social import MosaicSocialPostOperator

_MODULES = {
    "MosaicDownloadOutputsOperator": "assets",
    "MosaicRunAgentOperator": "runs",
    "MosaicSocialPostOperator": "social",
    "MosaicUploadOperator": "assets",
}

__all__ = [
    "MosaicDownloadOutputsOperator",
    "MosaicRunAgentOperator",
    "MosaicSocialPostOperator",
    "MosaicUploadOperator",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
