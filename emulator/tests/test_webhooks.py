from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest
from mosaic_emulator.catalogue import TWO_BRANCH_AGENT_ID, node_id

from .conftest import Api, Receiver, until

URLS = {"video_urls": ["https://cdn.example.org/a.mp4"]}


def finished(receiver: Receiver) -> list[dict[str, Any]]:
    until(receiver.flags, lambda flags: "RUN_FINISHED" in flags)
    return receiver.events


def test_a_run_tells_its_start_its_progress_and_its_end(api: Api, receiver: Receiver) -> None:
    run_id = api.start(body={**URLS, "callback_url": receiver.url})
    # Three nodes begin and end. Deliveries do not wait for each other, so their order is open.
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


def test_a_partial_end_tells_what_failed(api: Api, receiver: Receiver) -> None:
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


def test_a_webhook_is_tried_again_three_times(api: Api, receiver: Receiver) -> None:
    api.mosaic.configure(hold_runs=True)
    receiver.answers = [500, 302, 404, 200]
    api.start(body={**URLS, "callback_url": receiver.url})
    # Two events, RUN_STARTED and the first RUN_PROGRESS, and a repeat for each of three refusals.
    until(receiver.flags, lambda flags: len(flags) == 5)
    until(api.mosaic.counts, lambda counts: (counts.webhooks_sent, counts.webhooks_failed) == (5, 3))
    assert set(receiver.flags()) == {"RUN_STARTED", "RUN_PROGRESS"}


def test_a_receiver_that_is_not_there_is_given_up(api: Api) -> None:
    api.mosaic.configure(webhook_backoff=0.01)
    api.end(api.start(body={**URLS, "callback_url": "http://127.0.0.1:9/"}))
    counts = until(api.mosaic.counts, lambda counts: counts.webhooks_failed >= 4 * 8)
    assert counts.webhooks_sent == counts.webhooks_failed == 4 * 8


def test_a_receiver_whose_answer_never_ends_holds_no_delivery(api: Api) -> None:
    api.mosaic.configure(webhook_timeout=0.2, webhook_backoff=0.01, hold_runs=True)
    closing = threading.Event()

    def answer(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.recv(65536)
            line.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n")
            while not closing.wait(0.02):
                line.sendall(b"x")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        api.start(body={**URLS, "callback_url": f"http://127.0.0.1:{listening.getsockname()[1]}/"})
        # Two events, and three repeats of each.
        until(api.mosaic.counts, lambda counts: counts.webhooks_failed == 8)
        closing.set()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("switches", [{"webhook_loss": 1.0}, {"webhook_copies": 2}, {"webhook_secret": None}])
def test_webhooks_can_be_lost_doubled_or_unsigned(api: Api, receiver: Receiver, switches: dict[str, Any]) -> None:
    api.mosaic.configure(**switches)
    api.end(api.start(body={**URLS, "callback_url": receiver.url}))
    if "webhook_loss" in switches:
        assert (receiver.events, api.mosaic.counts().webhooks_sent) == ([], 0)
    elif "webhook_copies" in switches:
        until(receiver.flags, lambda flags: flags.count("RUN_FINISHED") == 2)
    else:
        finished(receiver)
        assert set(receiver.signatures) == {None}


def test_a_webhook_can_come_late(api: Api, receiver: Receiver) -> None:
    api.mosaic.configure(webhook_delay=0.5)
    run_id = api.start(body={**URLS, "callback_url": receiver.url})
    assert api.end(run_id)["status"] == "completed"
    assert receiver.events == []
    finished(receiver)


@pytest.mark.parametrize("told", [False, True])
def test_a_cancel_is_told_only_when_asked(api: Api, receiver: Receiver, told: bool) -> None:
    api.mosaic.configure(hold_runs=True, webhook_on_cancel=told)
    run_id = api.start(body={**URLS, "callback_url": receiver.url})
    api.post(f"/agent_run/{run_id}/cancel")
    # Whatever was announced is under way by now; a resumed run announces more behind it.
    api.mosaic.configure(hold_runs=False)
    api.post(f"/agent_run/{run_id}/resume")
    # They may overtake each other.
    counted = {"RUN_STARTED": 2, "RUN_FINISHED": 2 if told else 1}
    until(receiver.flags, lambda flags: {flag: flags.count(flag) for flag in counted} == counted)
    ends = sorted(event["status"] for event in receiver.events if event["flag"] == "RUN_FINISHED")
    assert ends == (["cancelled", "completed"] if told else ["completed"])


def test_the_start_tells_what_a_run_is_made_of(api: Api, receiver: Receiver) -> None:
    # Before anything is fetched: a URL as it was given, an upload by a link.
    body = {"video_urls": URLS["video_urls"], "video_ids": [api.upload()], "callback_url": receiver.url}
    api.start(body=body)
    start = next(event for event in finished(receiver) if event["flag"] == "RUN_STARTED")
    urls = [each["video_url"] for each in start["inputs"]]
    assert URLS["video_urls"][0] in urls
    assert len(urls) == 2
    assert all(urls)
    assert [set(each) for each in start["inputs"]] == [{"video_url", "thumbnail_url"}] * 2
