"""Invalid bodies and signatures of webhooks."""

from __future__ import annotations

import json

import pytest

from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.webhooks import MAX_EVENT_SIZE, read_event, signature_fits

pytestmark = pytest.mark.hostile

NO_EVENTS: dict[str, bytes | str] = {
    "nested without end": b"[" * 100_000,
    "nested too deeply": b'{"flag":"RUN_FINISHED","x":' + b"[" * 900 + b"]" * 900 + b"}",
    "a number of 5,000 digits": b'{"flag":"RUN_FINISHED","x":' + b"9" * 5000 + b"}",
    "no UTF-8": b'{"flag":"\xff"}',
    "a run id with NUL": rb'{"flag":"RUN_FINISHED","run_id":"a\u0000b"}',
    "a run id of half a character": rb'{"flag":"RUN_FINISHED","run_id":"\ud800"}',
    "a run id of half a character, as text": '{"flag":"RUN_FINISHED","run_id":"\ud800"}',
    "a run id of 100,000 characters": b'{"flag":"RUN_FINISHED","run_id":"' + b"x" * 100_000 + b'"}',
    "a run id that is a list": b'{"flag":"RUN_FINISHED","run_id":[]}',
    "NaN": b"NaN",
    "a text": b'"RUN_FINISHED"',
    "300,000 nodes": b'{"flag":"RUN_FINISHED","updated_nodes":[' + b"{}," * 300_000 + b"{}]}",
    "300,000 nodes, as text": '{"flag":"RUN_FINISHED","updated_nodes":[' + "{}," * 300_000 + "{}]}",
    "longer than any event": b'{"flag":"RUN_FINISHED","x":"' + b"x" * MAX_EVENT_SIZE + b'"}',
}


@pytest.mark.parametrize("body", NO_EVENTS.values(), ids=NO_EVENTS)
def test_invalid_webhook_is_a_response_error(body: bytes | str) -> None:
    with pytest.raises(MosaicResponseError):
        read_event(body)


def test_text_fields_of_a_webhook_accept_anything() -> None:
    event = read_event(rb'{"flag":"RUN_FINISHED","run_id":"r","status_message":"a\u0000\ud83c","x":NaN}')
    assert (event.run_id, event.status_message) == ("r", "a\ufffd\ufffd")


@pytest.mark.parametrize(
    ("signature", "secret", "fits"),
    [
        ("whsk_a", "whsk_a", True),
        ("whsk_\u00fc", "whsk_\u00fc", True),
        ("whsk_a", "whsk_b", False),
        ("", "", False),
        (None, "whsk_a", False),
        ("\ud800", "whsk_x", False),
        ("\ud800", "\ud800", False),
        ("whsk_x", "\ud800", False),
        ("whsk_x\0", "whsk_x", False),
        ("x" * 1_000_000, "whsk_x", False),
        # The encodings of headers and of environment variables.
        ("cl\udcc3\udca9", "cl\u00e9", True),
        ("cl\u00e9", "cl\udcc3\udca9", True),
        # Starlette and other servers decode headers as Latin-1.
        ("cl\u00c3\u00a9", "cl\u00e9", True),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_signature_fits_accepts_any_text(signature: str | None, secret: str, fits: bool) -> None:
    assert signature_fits(signature, secret) is fits


def test_webhook_status_spellings() -> None:
    nodes = [{"original_node_id": "n", "status": "Timed_Out"}]
    event = read_event(
        json.dumps({"flag": "RUN_FINISHED", "run_id": "r", "status": "Canceled", "updated_nodes": nodes})
    )
    assert event.status == "cancelled"
    assert event.updated_nodes[0].status == "failed"
