"""Arguments that Python itself can't compare, convert or show are refused like any other."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest

from airflow_provider_mosaic.api.arguments import (
    checked_credits,
    checked_id,
    checked_list,
    checked_mapping,
    checked_moment,
    checked_seconds,
)
from airflow_provider_mosaic.api.definitions import checked_definition
from airflow_provider_mosaic.api.errors import MosaicValidationError

DEEP: Any = reduce(lambda inner, _: [inner], range(100_000), [])


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (checked_seconds, 10**400),
        (checked_seconds, -(10**5000)),
        (checked_seconds, float("nan")),
        (checked_credits, 10**5000),
        (checked_credits, "1e999"),
        (checked_moment, "2026-07-01T10:00:00+24:00"),
        (checked_moment, "2026-07-01T10:00:00-99:99"),
        (checked_moment, "1" * 100_000),
        (checked_moment, "\ud800"),
        (checked_id, 10**5000),
        (checked_id, DEEP),
        (checked_list, "[" * 100_000),
        (checked_list, 10**5000),
        (checked_mapping, {"a": DEEP}),
        (checked_mapping, {"a": 10**5000}),
        (checked_mapping, "{" * 100_000),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_python_itself_stumbles_over_is_refused(check: Callable[[str, Any], Any], value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^it=") as refused:
        check("it", value)
    str(refused.value).encode()


@pytest.mark.parametrize("value", [10**5000, DEEP], ids=["int", "list"])
def test_a_definition_with_such_a_value_is_refused(value: Any) -> None:
    with pytest.raises(MosaicValidationError):
        checked_definition({"nodes": {"a": {"tile": "Captions", "params": {"x": value}}}})
