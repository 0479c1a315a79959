"""Methods that are made from endpoints have their names, arguments and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TypeVar

import pytest

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints import observability, runs
from airflow_provider_mosaic.api.paging import Listing
from airflow_provider_mosaic.api.retries import RetryPolicy
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods

T = TypeVar("T")


class Recorder(EndpointMethods):
    """Records calls instead of sending them."""

    def __init__(self) -> None:
        self.targets: list[str] = []

    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        self.targets.append(f"{call.method} {call.target}")
        return "a response"  # type: ignore[return-value]

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        self.targets.append(listing.page(None).target)
        return iter(())


def test_a_method_has_the_arguments_of_its_endpoint() -> None:
    hook = Recorder()
    responses: list[object] = [hook.get_run("r"), hook.get_run(run_id="r")]
    assert responses == ["a response"] * 2
    assert list(hook.list_runs("a", status="failed")) == list(hook.list_runs(status="failed", agent_id="a")) == []
    assert hook.targets == ["GET /agent_run/r"] * 2 + ["/agent/a/runs?limit=100&status=failed"] * 2


def test_an_unknown_or_missing_argument_is_a_type_error() -> None:
    hook = Recorder()
    with pytest.raises(TypeError, match=r"list_run_tasks\(\) got an unexpected keyword argument 'status'"):
        hook.list_run_tasks("r", status="failed")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"get_run\(\) missing 1 required positional argument: 'run_id'"):
        hook.get_run()  # type: ignore[call-arg]
    assert hook.targets == []


def test_help_shows_the_signature_and_docstring_of_the_endpoint() -> None:
    assert EndpointMethods.list_run_tasks.__name__ == "list_run_tasks"
    assert EndpointMethods.list_run_tasks.__doc__ == observability.list_run_tasks.__doc__
    shown = {
        method.__name__: str(inspect.signature(method)).replace("'", "")
        for method in (
            EndpointMethods.get_run_nodes,
            EndpointMethods.list_run_tasks,
            EndpointMethods.delete_agent,
            Recorder().get_run,
        )
    }
    assert shown == {
        "get_run_nodes": "(self, run_id: str) -> tuple[RunNode, ...]",
        "list_run_tasks": "(self, run_id: str, *, created_from: datetime | str | None = None, "
        "created_to: datetime | str | None = None, updated_from: datetime | str | None = None) -> Iterator[TaskRow]",
        "delete_agent": "(self, agent_id: str) -> None",
        "get_run": "(run_id: str) -> Run",
    }


def test_an_override_can_call_super() -> None:
    class Override(Recorder):
        def cancel_run(self, run_id: str) -> runs.Cancelled:
            self.targets.append("override")
            return super().cancel_run(run_id)

    hook = Override()
    hook.cancel_run("r")
    assert hook.targets == ["override", "POST /agent_run/r/cancel"]


def test_no_method_takes_arbitrary_arguments() -> None:
    methods = dict(inspect.getmembers(EndpointMethods, inspect.isfunction))
    methods = {name: method for name, method in methods.items() if name in vars(EndpointMethods)}
    assert {"run_agent", "create_post", "start_upload"} <= methods.keys()
    arbitrary = {
        name
        for name, method in methods.items()
        for parameter in inspect.signature(method).parameters.values()
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    assert arbitrary == set()
    assert {name for name, method in methods.items() if method.__name__ != name} == set()
