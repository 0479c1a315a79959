"""Arguments that Python can't compare, convert or represent."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest

from airflow_provider_mosaic.agents_as_code.definition import validate_definition
from airflow_provider_mosaic.api.arguments import (
    validate_credits,
    validate_datetime,
    validate_id,
    validate_list,
    validate_mapping,
    validate_seconds,
)
from airflow_provider_mosaic.api.errors import MosaicValidationError

DEEP: Any = reduce(lambda inner, _: [inner], range(100_000), [])


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (validate_seconds, 10**400),
        (validate_seconds, -(10**5000)),
        (validate_seconds, float("nan")),
        (validate_credits, 10**5000),
        (validate_credits, "1e999"),
        (validate_datetime, "2026-07-01T10:00:00+24:00"),
        (validate_datetime, "2026-07-01T10:00:00-99:99"),
        (validate_datetime, "1" * 100_000),
        (validate_datetime, "\ud800"),
        (validate_id, 10**5000),
        (validate_id, DEEP),
        (validate_list, "[" * 100_000),
        (validate_list, 10**5000),
        (validate_mapping, {"a": DEEP}),
        (validate_mapping, {"a": 10**5000}),
        (validate_mapping, "{" * 100_000),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_values_that_python_cannot_represent_are_rejected(check: Callable[[str, Any], Any], value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^it=") as refused:
        check("it", value)
    str(refused.value).encode()


@pytest.mark.parametrize("value", [10**5000, DEEP], ids=["int", "list"])
def test_agent_definition_with_such_values_is_rejected(value: Any) -> None:
    with pytest.raises(MosaicValidationError):
        validate_definition({"nodes": {"a": {"tile": "Captions", "params": {"x": value}}}})
