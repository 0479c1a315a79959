from __future__ import annotations

import inspect
import re

import pytest
from api.every_sample import SAMPLES, endpoint_functions
from fastapi.routing import APIRoute

from airflow_provider_mosaic.emulator.routes import API_ROUTERS
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

#: Documented beside the method that the client uses, for the same thing.
SECOND_METHODS = {("PATCH", "/agent/{}/update"), ("DELETE", "/agent/{}/delete")}


def anonymous(path: str) -> str:
    """A path template whose placeholders have no names."""
    return re.sub(r"{[^}]*}", "{}", path)


def of_the_client() -> set[tuple[str, str]]:
    found = set()
    for sample in SAMPLES.values():
        path = sample.call.path
        # The type of an asset is a word of the path in the documentation, and a placeholder for us.
        if "asset_type" in sample.call.ids:
            path = path.replace("{asset_type}", sample.call.ids["asset_type"])
        found.add((sample.call.method, anonymous(path)))
    return found


def of_the_emulator() -> set[tuple[str, str]]:
    found = set()
    for router in API_ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            kinds = ("video", "audio", "image") if re.search(r"/uploads/{", route.path) else ("",)
            for kind in kinds:
                path = re.sub(r"/uploads/{[^}]*}", f"/uploads/{kind}", route.path) if kind else route.path
                found |= {(method, anonymous(path)) for method in route.methods}
    return found - SECOND_METHODS


def test_the_client_calls_nothing_that_the_emulator_does_not_serve() -> None:
    assert of_the_client() - of_the_emulator() == set()


def test_the_emulator_serves_nothing_that_the_client_does_not_call() -> None:
    assert of_the_emulator() - of_the_client() == set()


def of_the_hook() -> set[str]:
    """The functions of ``api`` that the hook has a method for; a start is called otherwise there."""
    return {name for name, _ in endpoint_functions() if hasattr(MosaicHook, name)} | {"start_run"}


def test_a_start_is_called_run_agent_on_the_hook() -> None:
    assert callable(MosaicHook.run_agent)


@pytest.mark.parametrize("name", sorted(of_the_hook() - {"start_run"}))
def test_a_method_of_the_hook_takes_what_the_endpoint_takes(name: str) -> None:
    endpoint = inspect.signature(dict(endpoint_functions())[name]).parameters
    method = dict(list(inspect.signature(getattr(MosaicHook, name)).parameters.items())[1:])
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in method.values()):
        return
    assert [(p.name, p.kind, p.default) for p in method.values()] == [
        (p.name, p.kind, p.default) for p in endpoint.values()
    ]


def test_the_hook_has_a_method_for_each_endpoint() -> None:
    assert {name for name, _ in endpoint_functions()} - of_the_hook() == set()
