"""Invalid settings, and invalid arguments of each control method."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.settings import Settings

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
ControlCall = Callable[[Emulator], object]

#: By method and argument: an invalid call, and the error that it raises.
TABLE: dict[tuple[str, str], list[tuple[ControlCall, type[Exception], str]]] = {
    ("inject", "kind"): [
        (lambda m: m.inject("earthquake"), ValueError, "earthquake"),
        (lambda m: m.inject(5), ValueError, "kind"),  # type: ignore[arg-type]
    ],
    ("inject", "method"): [(lambda m: m.inject("reset", method=5), ValueError, "method")],  # type: ignore[arg-type]
    ("inject", "path"): [(lambda m: m.inject("reset", path=["/agents"]), ValueError, "path")],  # type: ignore[arg-type]
    ("inject", "times"): [(lambda m: m.inject("reset", times=0), ValueError, "times")],
    ("inject", "skip"): [(lambda m: m.inject("reset", skip=-1), ValueError, "skip")],
    ("inject", "probability"): [(lambda m: m.inject("reset", probability=1.5), ValueError, "probability")],
    ("inject", "options"): [(lambda m: m.inject("reset", nonsense=1), ValueError, "nonsense")],
    ("finish_run", "run_id"): [(lambda m: m.finish_run(UNKNOWN_ID), LookupError, UNKNOWN_ID)],
    ("finish_run", "status"): [(lambda m: m.finish_run(run(m), 5), ValueError, "status")],  # type: ignore[arg-type]
    ("finish_run", "message"): [(lambda m: m.finish_run(run(m), message=5), ValueError, "message")],  # type: ignore[arg-type]
    ("finish_run", "needs_credits"): [
        (lambda m: m.finish_run(run(m), needs_credits="often"), ValueError, "needs_credits"),  # type: ignore[arg-type]
    ],
    ("finish_run", "failed"): [(lambda m: m.finish_run(run(m), failed=[5]), ValueError, "failed")],  # type: ignore[list-item]
    ("forget_run", "run_id"): [(lambda m: m.forget_run(UNKNOWN_ID), LookupError, UNKNOWN_ID)],
    ("fire_trigger", "trigger_id"): [(lambda m: m.fire_trigger(UNKNOWN_ID), LookupError, UNKNOWN_ID)],
    ("fire_trigger", "event"): [
        (lambda m: m.fire_trigger(UNKNOWN_ID, nonsense=1), ValueError, "nonsense"),
        (lambda m: m.fire_trigger(UNKNOWN_ID, file_names=[]), ValueError, "file_names"),
    ],
    ("link_account", "connect_url"): [(lambda m: m.link_account("https://a.example/x"), LookupError, "link is used")],
    ("pay_checkout", "checkout_url"): [(lambda m: m.pay_checkout("https://a.example/x"), LookupError, "checkout is")],
    ("configure", "settings"): [
        (lambda m: m.configure(nonsense=1), ValueError, "nonsense"),
        *[
            (lambda m, name=name: m.configure(**{name: {"not": ["a", "value"]}}), ValueError, name)  # type: ignore[misc]
            for name, field in Settings.model_fields.items()
            if not str(field.annotation).startswith("dict")
        ],
        *[
            (lambda m, name=name: m.configure(**{name: 5}), ValueError, name)  # type: ignore[misc]
            for name, field in Settings.model_fields.items()
            if str(field.annotation).startswith("dict")
        ],
    ],
}
CASES = [
    pytest.param(*case, id=f"{member}-{argument}-{i}")
    for (member, argument), cases in TABLE.items()
    for i, case in enumerate(cases)
]


def run(mosaic: Emulator) -> str:
    """Start a run that stays active."""
    import httpx

    mosaic.configure(hold_runs=True)
    response = httpx.post(
        f"{mosaic.url}/agent/a0000000-0000-4000-8000-000000000004/run",
        headers={"Authorization": f"Bearer {mosaic.api_key}"},
        json={},
        trust_env=False,
    )
    return str(response.json()["run_id"])


@pytest.mark.parametrize(("act", "kind", "words"), CASES)
def test_invalid_control_argument_is_named(
    mosaic: Emulator, act: ControlCall, kind: type[Exception], words: str
) -> None:
    before = mosaic.settings()
    with pytest.raises(kind, match=words):
        act(mosaic)
    assert {**mosaic.settings(), "hold_runs": False} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"speed": 0}, "speed"),
        ({"node_seconds": -1}, "node_seconds"),
        ({"nonsense": 1}, "nonsense"),
        ({"api_key": ""}, "api"),
    ],
    ids=lambda value: str(value),
)
def test_emulator_with_an_invalid_setting_does_not_start(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Emulator(**arguments).start()


@pytest.mark.parametrize(
    ("argument", "value"), [("directory", 5), ("start_timeout", "soon"), ("start_timeout", 0), ("api_key", 5)]
)
def test_constructor_validates_its_arguments(argument: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=argument):
        Emulator(**{argument: value})


def test_table_has_every_control_argument() -> None:
    arguments = {
        (name, parameter)
        for name, function in inspect.getmembers(Emulator, inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(function).parameters
        if parameter != "self"
    }
    assert arguments == set(TABLE)
    assert set(inspect.signature(Emulator.__init__).parameters) - {"self"} == {
        "directory", "speed", "api_key", "start_timeout", "settings",
    }  # fmt: skip
