from __future__ import annotations

import pytest
from tasks.fixtures import clock, hook, mosaic

from airflow_provider_mosaic.tasks import outputs

__all__ = ["clock", "hook", "mosaic"]


@pytest.fixture(autouse=True)
def _outputs_are_soon_believed_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_PAUSES", (0.01,) * 4)
