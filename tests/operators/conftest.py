from __future__ import annotations

from collections.abc import Iterator

import pytest
from mosaic_emulator.dag_testing import kept_api_server
from tasks.fixtures import as_production_api, clock, hook, lookups, mosaic, short_pauses

__all__ = ["as_production_api", "clock", "hook", "lookups", "mosaic", "short_pauses"]


@pytest.fixture(scope="session")
def dag_test_api() -> Iterator[None]:
    with kept_api_server():
        yield
