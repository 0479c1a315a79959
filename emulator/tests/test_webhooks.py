from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from mosaic_emulator.catalogue import TWO_BRANCH_AGENT_ID, node_id

from .conftest import Api, Receiver, until

URLS = {"video_urls": ["https://cdn.example.org/a.mp4"]}


def finished(receiver: Receiver) -> list[dict[str, Any]]:
    until(receiver.flags, lambda flags: "RUN_FINISHED" in flags)
    return receiver.events


def test_webhooks_of_a_run(api: Api, receiver: Receiver) -> None:
    run_id = api.start(body={**URLS, "callback_url": receiver.url})
    # Three nodes start and complete. The order of deliveries is not defined.
    events = until(lambda: receiver.events, lambda events: len(events) == 8)
    assert sorted(receiver.flags()) == ["RUN_FINISHED", *["RUN_PROGRESS"] * 6, "RUN_STARTED"]
    common = {"flag", "agent_id", "run_id", "status", "node_status_counts", "triggered_by"}
    by_flag = {event["flag"]: event for event in events}
    assert set(by_flag["RUN_STARTED"]) == common | {"inputs"}
    assert set(by_flag["RUN_PROGRESS"]) == common | {"updated_nodes"}
    assert set(by_flag["RUN_FINISHED"]) == common | {
        "inputs",
        "outputs",
        "status_message",
        "needs_credits",
        "errors",
    }
    assert all(event["run_id"] == run_id and event["triggered_by"] is None for event in events)
    assert by_flag["RUN_STARTED"]["status"] == "running"
    assert by_flag["RUN_FINISHED"]["status"] == "completed"
    assert len(by_flag["RUN_FINISHED"]["outputs"]) == 1
    assert set(receiver.signatures) == {"whsk_emulator"}
    until(api.mosaic.counts, lambda counts: (counts.webhooks_sent, counts.webhooks_failed) == (len(events), 0))


def test_webhook_of_a_partial_run(api: Api, receiver: Receiver) -> None:
    api.mosaic.configure(failing_nodes={"AI Music": "no tune"})
    api.start(body={**URLS, "callback_url": receiver.url}, agent_id=TWO_BRANCH_AGENT_ID)
    end = next(event for event in finished(receiver) if event["flag"] == "RUN_FINISHED")
    assert end["status"] == "partial_complete"
    assert end["errors"] == [{"original_node_id": node_id(2, 4), "messages": ["no tune"]}]
    failed = [
        node
        for event in until(lambda: receiver.events, lambda events: len(events) >= 6)
        for node in event.get("updated_nodes", [])
        if node["status"] == "failed"
    ]
    assert failed[0]["errors"] == ["no tune"]


def test_webhook_retries(api: Api, receiver: Receiver) -> None:
    api.mosaic.configure(hold_runs=True)
    receiver.responses = [500, 302, 404, 200]
    api.start(body={**URLS, "callback_url": receiver.url})
    # RUN_STARTED, the first RUN_PROGRESS, and three retries.
    until(receiver.flags, lambda flags: len(flags) == 5)
    until(api.mosaic.counts, lambda counts: (counts.webhooks_sent, counts.webhooks_failed) == (5, 3))
    assert set(receiver.flags()) == {"RUN_STARTED", "RUN_PROGRESS"}


def test_unreachable_receiver(api: Api) -> None:
    api.mosaic.configure(webhook_backoff=0.01)
    api.end(api.start(body={**URLS, "callback_url": "http://127.0.0.1:9/"}))
    counts = until(api.mosaic.counts, lambda counts: counts.webhooks_failed >= 4 * 8)
    assert counts.webhooks_sent == counts.webhooks_failed == 4 * 8


def test_endless_response_holds_no_delivery(api: Api) -> None:
    api.mosaic.configure(webhook_timeout=0.2, webhook_backoff=0.01, hold_runs=True)
    closing = threading.Event()

    def response(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n")
            while not closing.wait(0.02):
                connection.sendall(b"x")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=response, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        api.start(body={**URLS, "callback_url": f"http://127.0.0.1:{listening.getsockname()[1]}/"})
        # Two events with three retries each.
        until(api.mosaic.counts, lambda counts: counts.webhooks_failed == 8)
        closing.set()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("switches", [{"webhook_loss": 1.0}, {"webhook_copies": 2}, {"webhook_secret": None}])
def test_webhook_loss_copies_and_secret(api: Api, receiver: Receiver, switches: dict[str, Any]) -> None:
    api.mosaic.configure(**switches)
    api.end(api.start(body={**URLS, "callback_url": receiver.url}))
    if "webhook_loss" in switches:
        api.mosaic.configure(webhook_loss=0)
        run_id = api.start(body={**URLS, "callback_url": receiver.url})
        assert {event["run_id"] for event in finished(receiver)} == {run_id}
    elif "webhook_copies" in switches:
        until(receiver.flags, lambda flags: flags.count("RUN_FINISHED") == 2)
    else:
        finished(receiver)
        assert set(receiver.signatures) == {None}


def test_webhook_delay(api: Api, receiver: Receiver) -> None:
    api.mosaic.configure(webhook_delay=0.5)
    started_at = time.monotonic()
    run_id = api.start(body={**URLS, "callback_url": receiver.url})
    assert api.end(run_id)["status"] == "completed"
    finished(receiver)
    assert time.monotonic() - started_at >= 0.5


@pytest.mark.parametrize("sent", [False, True])
def test_webhook_on_cancel(api: Api, receiver: Receiver, sent: bool) -> None:
    api.mosaic.configure(hold_runs=True, webhook_on_cancel=sent)
    run_id = api.start(body={**URLS, "callback_url": receiver.url})
    api.post(f"/agent_run/{run_id}/cancel")
    # All deliveries have started. A resumed run sends more.
    api.mosaic.configure(hold_runs=False)
    api.post(f"/agent_run/{run_id}/resume")
    # The order of deliveries is not defined.
    counted = {"RUN_STARTED": 2, "RUN_FINISHED": 2 if sent else 1}
    until(receiver.flags, lambda flags: {flag: flags.count(flag) for flag in counted} == counted)
    ends = sorted(event["status"] for event in receiver.events if event["flag"] == "RUN_FINISHED")
    assert ends == (["cancelled", "completed"] if sent else ["completed"])


def test_run_started_webhook_contains_the_inputs(api: Api, receiver: Receiver) -> None:
    # Before the download: the given URL; an upload: a link.
    body = {"video_urls": URLS["video_urls"], "video_ids": [api.upload()], "callback_url": receiver.url}
    api.start(body=body)
    # The order of deliveries is not defined.
    until(receiver.flags, lambda flags: "RUN_STARTED" in flags)
    start = next(event for event in receiver.events if event["flag"] == "RUN_STARTED")
    urls = [each["video_url"] for each in start["inputs"]]
    assert URLS["video_urls"][0] in urls
    assert len(urls) == 2
    assert all(urls)
    assert [set(each) for each in start["inputs"]] == [{"video_url", "thumbnail_url"}] * 2
