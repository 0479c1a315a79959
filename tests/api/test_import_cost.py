"""A worker that runs one agent does not pay for the models of billing, social or agents."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_mosaic.api.models import Model


def output_of(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_runs_import_no_other_endpoints() -> None:
    code = """
import sys
import airflow_provider_mosaic.api.endpoints.runs
print(*(name for name in sys.modules if name.startswith("airflow_provider_mosaic.api.endpoints.")))
"""
    assert output_of(code) == ["airflow_provider_mosaic.api.endpoints.runs"]


@pytest.mark.skipif(not Model.model_config["defer_build"], reason="this pydantic builds models when they are defined")
def test_models_are_built_when_they_are_first_used() -> None:
    code = """
from airflow_provider_mosaic.api.endpoints import agents, assets, avatars, billing, engagement, observability
from airflow_provider_mosaic.api.endpoints import posts, runs, storage_watchers, triggers
from airflow_provider_mosaic.api.models import Model

def models(base):
    for model in base.__subclasses__():
        yield model
        yield from models(model)

runs.Run.model_validate({"run_id": "r", "status": "running"})
print(*(model.__name__ for model in models(Model) if model.__pydantic_complete__))
"""
    assert set(output_of(code)) == {"Run", "NodeCounts"}
