"""Every method of the hook, over real sockets, over both transports, against every shape that an answer may have."""

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

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.webhooks import SIGNATURE_HEADER, read_event, signature_fits
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .all_endpoints import CallEnvironment
from .both_transports import TRANSPORTS
from .endpoint_calls import ENDPOINT_CALLS, HOOK_CALLS
from .shapes import ALONE, MIXTURES, NO_SHAPES, OF_REFUSALS, PAIRWISE, SHAPES, SWITCHES, values_of

#: What the hook has beside endpoints: for sending what has no method, and for Airflow.
NO_ENDPOINTS = {"send", "iterate"}
FOR_AIRFLOW = {
    "close", "get_conn", "get_connection_form_widgets", "get_ui_field_behaviour", "look_up_access",
    "open_async_client", "renew", "test_connection",
}  # fmt: skip


class Receiver:
    """Receives webhooks and keeps them by the run that they are about."""

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
    receiving = Receiver()
    thread = threading.Thread(target=receiving.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield receiving
    receiving.http.shutdown()
    thread.join()
    receiving.http.server_close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_namesakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else makes an agent here: there is nobody to wait for."""
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)


def access_to(mosaic: Emulator) -> Access:
    return Access(api_key=mosaic.api_key, base_url=mosaic.url, workspace_id=WORKSPACE_ID)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("shape", [*SHAPES, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ALONE)])
def test_every_method_reads_every_shape(
    mosaic_emulator: Emulator, receiver: Receiver, evidence: Counter[str], shape: str, transport: str
) -> None:
    mosaic_emulator.configure(**(SHAPES | ALONE)[shape])
    with closing(TRANSPORTS[transport](access_to(mosaic_emulator))) as api:
        day = CallEnvironment(api, mosaic_emulator, mosaic_emulator.settings(), receiver.url)
        for name, act in (ENDPOINT_CALLS | (HOOK_CALLS if transport == "requests" else {})).items():
            try:
                act(day)
            except Exception as error:
                raise AssertionError(f"{name}, {shape}, over {transport}: {error}") from error
            evidence["calls of a hook method, each against a shape of answers, over a transport"] += 1
        # They may overtake each other.
        day.until(lambda: _flags(day, receiver), {"RUN_STARTED", "RUN_PROGRESS", "RUN_FINISHED"}.__eq__)


def _flags(day: CallEnvironment, receiver: Receiver) -> set[str]:
    """The flags of the webhooks about the day's run, each signed with the secret and read as the model that it is."""
    flags = set()
    for signature, body in list(receiver.received):
        if json.loads(body)["run_id"] == day.ids["run"]:
            assert signature_fits(signature, "whsk_emulator")
            event = read_event(body)
            assert (event.run_id, event.agent_id) == (day.ids["run"], day.mosaic.agent_id)
            flags.add(event.flag)
    return flags


def public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isroutine) if not name.startswith("_")}


def test_the_day_has_every_method_of_the_hook() -> None:
    assert set(ENDPOINT_CALLS) == {name for name in public(EndpointMethods) if name not in NO_ENDPOINTS}
    own = set(vars(MosaicHook)) & public(MosaicHook)
    assert set(HOOK_CALLS) == own - NO_ENDPOINTS - FOR_AIRFLOW


def test_every_switch_is_a_shape_or_said_to_be_none() -> None:
    switches = {name for name, field in Settings.model_fields.items() if values_of(field)}
    tried = {*OF_REFUSALS, *SWITCHES, *(name for changes in MIXTURES.values() for name in changes)}
    assert switches - tried == set(NO_SHAPES)


def test_each_value_of_a_switch_meets_each_value_of_every_other() -> None:
    missing = [
        (first, value, second, other)
        for first, second in combinations(SWITCHES, 2)
        for value, other in product(SWITCHES[first], SWITCHES[second])
        if not any(mixture[first] == value and mixture[second] == other for mixture in PAIRWISE.values())
    ]
    assert missing == [], "python tests/hooks/shapes.py writes mixtures that cover them"
