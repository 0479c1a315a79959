"""Every invalid argument of every trigger ends the wait at once with an error that names it."""

from __future__ import annotations

import inspect
import json
import math
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator
from tasks.fakes import event_of
from tasks.fixtures import effects

from airflow_provider_mosaic import triggers
from airflow_provider_mosaic.api.errors import MosaicValidationError

IDS: list[Any] = [None, 5, "", "None", "{{ run_id }}", "two words"]
CONNECTIONS: list[Any] = [None, 5, ""]
SECONDS: list[Any] = [0, -1, "30", math.nan, True, None]
FLAGS: list[Any] = ["False", 1, None]
MOMENTS: list[Any] = ["tomorrow", True, [1.0]]
WAIT = {"mosaic_conn_id": CONNECTIONS, "poll_interval": SECONDS, "deadline": MOMENTS}

#: By the trigger's name: valid arguments, and the invalid values of each argument.
TABLE: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "MosaicRunTrigger": (
        {"run_id": "a-run"},
        {
            **WAIT,
            "run_id": IDS,
            "started_at": MOMENTS,
            "cancel_on_kill": FLAGS,
        },
    ),
    "MosaicSocialPostTrigger": ({"post_id": "a-post"}, {**WAIT, "post_id": IDS, "started_at": MOMENTS}),
    "MosaicAvatarProfileTrigger": ({"avatar_profile_id": "a-profile"}, {**WAIT, "avatar_profile_id": IDS}),
    "MosaicCreditsTrigger": ({"min_credits": 100}, {**WAIT, "min_credits": [None, -1, "many", math.nan, True]}),
    "MosaicRunFinishedTrigger": (
        {"agent_id": "an-agent"},
        {
            "agent_id": IDS,
            "status": [5, ["ended"], "running"],
            "mosaic_conn_id": [None, 5, ""],
            "poll_interval": [0, -1, "30", math.nan, True, timedelta(0)],
            "webhook": [None, 1, "true"],
            "asset_name": [5, "", " "],
        },
    ),
}
CASES = [
    (kind, {**good, name: value}, name, value)
    for kind, (good, wrong) in TABLE.items()
    for name, values in wrong.items()
    for value in values
]


def error_message(kind: str, arguments: dict[str, Any]) -> str:
    """Return the error that is raised when the trigger is created or runs."""
    try:
        trigger: BaseTrigger = getattr(triggers, kind)(**arguments)
        event = event_of(trigger)
    except MosaicValidationError as error:
        return str(error)
    assert (event["outcome"], event["error"], event["transient"]) == ("error", "MosaicValidationError", False)
    return str(event["message"])


@pytest.mark.parametrize(("kind", "arguments", "name", "value"), CASES, ids=lambda value: repr(value)[:40])
def test_an_invalid_argument_ends_the_wait_at_once(
    mosaic: Emulator, evidence: Counter[str], kind: str, arguments: dict[str, Any], name: str, value: Any
) -> None:
    evidence["wrong values of arguments of triggers"] += 1
    message = error_message(kind, arguments)
    assert name in message
    assert repr(value[0] if isinstance(value, list) else value).strip("'") in message
    assert mosaic.api_key not in message
    assert effects(mosaic) == {}


def test_every_argument_of_every_trigger_is_in_the_table() -> None:
    assert set(TABLE) == set(triggers.__all__)
    for kind, (_, wrong) in TABLE.items():
        assert set(wrong) == set(inspect.signature(getattr(triggers, kind).__init__).parameters) - {"self"}, kind


def test_the_invalid_values_survive_the_database() -> None:
    for _, arguments, name, value in CASES:
        if not isinstance(value, timedelta):
            assert json.loads(json.dumps(arguments))[name] == value or math.isnan(value)
