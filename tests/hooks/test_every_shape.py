"""Call every method of the hook, over both transports, with every shape of responses."""

from __future__ import annotations

import inspect
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations, product
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import WORKSPACE_ID
from mosaic_emulator.settings import Settings

from airflow_provider_mosaic.agents_as_code import apply
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.webhooks import SIGNATURE_HEADER, read_event, signature_fits
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .all_endpoints import CallEnvironment
from .both_transports import TRANSPORTS
from .endpoint_calls import ENDPOINT_CALLS, HOOK_CALLS
from .shapes import ALONE, BEHAVIOR_SETTINGS, ERROR_SETTINGS, MIXTURES, PAIRWISE, SETTINGS, SHAPES, values_of

#: Methods of the hook that are not endpoints.
GENERIC_METHODS = {"send", "iterate"}
HOOK_METHODS = {
    "close", "get_conn", "get_connection_form_widgets", "get_ui_field_behaviour", "look_up_access",
    "open_async_client", "refuse_effects", "renew", "retry_with_new_key", "test_connection",
}  # fmt: skip


class Receiver:
    """Receives webhooks and records their signatures and bodies."""

    def __init__(self) -> None:
        self.received: list[tuple[str | None, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.headers[SIGNATURE_HEADER], body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    thread = threading.Thread(target=running.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.http.shutdown()
    thread.join()
    running.http.server_close()


def access_to(mosaic: Emulator) -> Access:
    return Access(api_key=mosaic.api_key, base_url=mosaic.url, workspace_id=WORKSPACE_ID)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("shape", [*SHAPES, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ALONE)])
def test_every_method_reads_every_shape(
    mosaic_emulator: Emulator,
    receiver: Receiver,
    evidence: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    transport: str,
) -> None:
    # In one shape, no read shows the connections that an apply waits for.
    monkeypatch.setattr(apply, "_EFFECT_PAUSES", ())
    mosaic_emulator.configure(**(SHAPES | ALONE)[shape])
    with closing(TRANSPORTS[transport](access_to(mosaic_emulator))) as api:
        env = CallEnvironment(api, mosaic_emulator, mosaic_emulator.settings(), receiver.url)
        for name, call in (ENDPOINT_CALLS | (HOOK_CALLS if transport == "requests" else {})).items():
            try:
                call(env)
            except Exception as error:
                raise AssertionError(f"{name}, {shape}, over {transport}: {error}") from error
            evidence["calls of hook methods, each with one shape of responses and one transport"] += 1
        # Webhooks may arrive in any order.
        env.wait_until(lambda: _flags(env, receiver), {"RUN_STARTED", "RUN_PROGRESS", "RUN_FINISHED"}.__eq__)


def _flags(env: CallEnvironment, receiver: Receiver) -> set[str]:
    """Return the flags of the webhooks about the run. Check their signatures and fields."""
    flags = set()
    for signature, body in list(receiver.received):
        if json.loads(body)["run_id"] == env.ids["run"]:
            assert signature_fits(signature, "whsk_emulator")
            event = read_event(body)
            assert (event.run_id, event.agent_id) == (env.ids["run"], env.mosaic.agent_id)
            flags.add(event.flag)
    return flags


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isroutine) if not name.startswith("_")}


def test_every_method_of_the_hook_is_called() -> None:
    assert set(ENDPOINT_CALLS) == {name for name in public_methods(EndpointMethods) if name not in GENERIC_METHODS}
    own = set(vars(MosaicHook)) & public_methods(MosaicHook)
    assert set(HOOK_CALLS) == own - GENERIC_METHODS - HOOK_METHODS


def test_every_setting_is_covered() -> None:
    settings = {name for name, field in Settings.model_fields.items() if values_of(field)}
    covered = {*ERROR_SETTINGS, *SETTINGS, *(name for changes in MIXTURES.values() for name in changes)}
    assert settings - covered == set(BEHAVIOR_SETTINGS)


def test_every_pair_of_values_is_covered() -> None:
    missing = [
        (first, value, second, other)
        for first, second in combinations(SETTINGS, 2)
        for value, other in product(SETTINGS[first], SETTINGS[second])
        if not any(mixture[first] == value and mixture[second] == other for mixture in PAIRWISE.values())
    ]
    assert missing == [], "python tests/hooks/shapes.py writes mixtures that cover them"
