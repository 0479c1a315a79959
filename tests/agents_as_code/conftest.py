from __future__ import annotations

from collections.abc import Iterator

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.hooks.mosaic import MosaicHook


@pytest.fixture
def hook(mosaic_emulator: Emulator, mosaic_connection: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MosaicHook]:
    """A hook of the emulator. The check for duplicate agents does not wait."""
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)
    hook = MosaicHook()
    yield hook
    hook.close()
