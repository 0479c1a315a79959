from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest
from tasks.fixtures import as_production_api, clock, hook, lookups, mosaic, short_pauses

__all__ = ["as_production_api", "clock", "hook", "lookups", "mosaic", "short_pauses"]


@pytest.fixture(scope="session")
def dag_test_api() -> Iterator[None]:
    """Keep the API server of ``dag.test()``, as Airflow 3.3 does. Before, each task built one in two seconds."""
    from airflow.sdk.execution_time import supervisor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "in_process_api_server", lru_cache(maxsize=1)(supervisor.in_process_api_server))
        yield
