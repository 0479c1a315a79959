"""On each Airflow, the provider detects the features that docs/compatibility.md lists for it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import pytest
from packaging.version import Version

from airflow_provider_mosaic.airflow_compat import has_provider_commands, triggers_receive_kills

AIRFLOW = Version(version("apache-airflow-core")).release


def has_retry_policy() -> bool:
    try:
        import airflow_provider_mosaic.retry_policy  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.parametrize(
    ("detected", "since"),
    [(triggers_receive_kills, (3, 3)), (has_provider_commands, (3, 2)), (has_retry_policy, (3, 3))],
)
def test_a_feature_is_detected_since_its_airflow(detected: Callable[[], bool], since: tuple[int, int]) -> None:
    assert detected() is (since <= AIRFLOW)
