from __future__ import annotations

import re
from typing import Any

import pytest
from mosaic_emulator.catalogue import DEFAULT_AGENT_ID, TWO_BRANCH_AGENT_ID
from mosaic_emulator.triggers.storage_events import BATCH_KEY, BUCKET_TRIGGER_ID, DRIVE_FOLDER, DRIVE_TRIGGER_ID

from .conftest import Api, Receiver, until

ONE, TWO, THREE = (f"UC{letter * 22}" for letter in "abc")
LONG = {"duration": {"min_seconds": 60}}
PATH = f"/agent/{DEFAULT_AGENT_ID}/triggers"


def add(api: Api, *channels: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = api.post(f"{PATH}/add_youtube_channels", {"youtube_channels": list(channels), **body})
    assert response.status_code == status, response.text
    return dict(response.json())


def triggers(api: Api) -> list[dict[str, Any]]:
    return list(api.get(PATH).json())


def channels(api: Api) -> list[list[str]]:
    return [each["youtube_channels"] for each in triggers(api)]


def test_new_agent_has_no_triggers(api: Api) -> None:
    assert triggers(api) == []
    api.mosaic.configure(triggers_response="object")
    assert api.get(PATH).json() is None
    add(api, ONE)
    assert api.get(PATH).json()["youtube_channels"] == [ONE]


def test_add_channels_response(api: Api) -> None:
    result = add(api, ONE, "https://www.youtube.com/@demo", "@demo", filter_options=LONG)
    assert set(result) == {"message", "channel_ids", "channels", "filter_options", "youtube_channel_details"}
    demo = result["channel_ids"][1]
    assert re.fullmatch(r"UC[\w-]{22}", demo)
    assert result["channel_ids"] == [ONE, demo]
    assert result["channels"] == [
        {"input": ONE, "channel_id": ONE},
        {"input": "https://www.youtube.com/@demo", "channel_id": demo},
        {"input": "@demo", "channel_id": demo},
    ]
    assert result["filter_options"] == LONG
    (trigger,) = triggers(api)
    assert (trigger["type"], trigger["youtube_channels"], trigger["filter_options"]) == ("youtube", [ONE, demo], LONG)
    assert trigger["youtube_channel_details"][1]["channel_handle"] == "@demo"
    assert api.mosaic.counts().channels_added == 2


def test_channels_move_to_the_trigger_of_their_filters(api: Api) -> None:
    add(api, ONE, TWO)
    add(api, THREE, filter_options=LONG)
    assert channels(api) == [[ONE, TWO], [THREE]]
    add(api, TWO, THREE, filter_options={"duration": {"min_seconds": 60.0}})
    assert channels(api) == [[ONE], [THREE, TWO]]
    add(api, ONE, filter_options=LONG)
    # The empty trigger is deleted.
    assert channels(api) == [[THREE, TWO, ONE]]
    assert api.mosaic.counts().channels_added == 5


def test_empty_filters(api: Api) -> None:
    add(api, ONE)
    add(api, TWO, filter_options={})
    assert len(triggers(api)) == 1
    api.mosaic.configure(empty_filter_is_none=False)
    add(api, THREE, filter_options={})
    assert channels(api) == [[ONE, TWO], [THREE]]


def test_trigger_callback_url(api: Api) -> None:
    def callback() -> Any:
        return triggers(api)[0]["callback_url"]

    add(api, ONE)
    assert callback() is None
    add(api, ONE, trigger_callback_url="https://hooks.example.org/yt")
    add(api, TWO)
    assert callback() == "https://hooks.example.org/yt"
    add(api, ONE, trigger_callback_url=None)
    assert callback() is None
    api.mosaic.configure(callback_required=True)
    add(api, ONE, status=400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"youtube_channels": []},
        {"youtube_channels": ONE},
        {"youtube_channels": ["not a channel"]},
        {"youtube_channels": ["https://vimeo.com/@demo"]},
        {"youtube_channels": [ONE, "UCshort"]},
        {"youtube_channels": [ONE], "trigger_callback_url": "hooks"},
        {"youtube_channels": [ONE], "callback_url": "https://hooks.example.org"},
        {"youtube_channels": [ONE], "filter_options": {"length": {}}},
        {"youtube_channels": [ONE], "filter_options": {"duration": {"min": 1}}},
        {"youtube_channels": [ONE], "filter_options": {"duration": {"min_seconds": -1}}},
        {"youtube_channels": [ONE], "filter_options": {"duration": {"min_seconds": 9, "max_seconds": 1}}},
    ],
)
def test_invalid_channels_are_rejected(api: Api, body: dict[str, Any]) -> None:
    assert api.post(f"{PATH}/add_youtube_channels", body).status_code == 400
    assert triggers(api) == []


def test_partial_channels(api: Api) -> None:
    api.mosaic.configure(unresolvable_channels=["@gone"])
    add(api, ONE, "@gone", status=400)
    assert triggers(api) == []
    api.mosaic.configure(partial_channels=True)
    add(api, ONE, "@gone", status=400)
    assert channels(api) == [[ONE]]


def test_remove_channels(api: Api) -> None:
    add(api, ONE, TWO)
    add(api, THREE, filter_options=LONG)
    body = {"youtube_channels": [f"https://youtube.com/channel/{TWO}", THREE]}
    response = api.post(f"{PATH}/remove_youtube_channels", body).json()
    assert sorted(response["removed_channels"]) == [TWO, THREE]
    assert channels(api) == [[ONE]]
    assert api.post(f"{PATH}/remove_youtube_channels", body).status_code == 200
    api.mosaic.configure(unknown_channel_removal=404)
    assert api.post(f"{PATH}/remove_youtube_channels", body).status_code == 404
    assert api.mosaic.counts().channels_removed == 2


def test_response_shapes_of_channel_changes(api: Api) -> None:
    api.mosaic.configure(add_channels_response="status_ok", remove_channels_response="status_ok")
    assert add(api, ONE) == {"status": "ok"}
    assert api.post(f"{PATH}/remove_youtube_channels", {"youtube_channels": [ONE]}).json() == {"status": "ok"}
    api.mosaic.configure(remove_channels_response="empty")
    response = api.post(f"{PATH}/remove_youtube_channels", {"youtube_channels": [ONE]})
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(("state", "names"), [("full", ["Channel aaaaaa"]), ("pending", [None]), ("missing", [])])
def test_channel_details(api: Api, state: str, names: list[str | None]) -> None:
    api.mosaic.configure(channel_details=state)
    add(api, ONE)
    details = triggers(api)[0]["youtube_channel_details"]
    assert [each["channel_name"] for each in details] == names


def test_unknown_filter_fields_are_not_stored(api: Api) -> None:
    api.mosaic.configure(extra_fields=True)
    add(api, ONE, filter_options=LONG)
    (trigger,) = triggers(api)
    assert trigger["filter_options"] == LONG
    assert "x_unknown" in trigger


def test_new_video_starts_a_run(api: Api) -> None:
    add(api, ONE, filter_options=LONG)
    trigger_id = triggers(api)[0]["id"]
    assert api.mosaic.fire_trigger(trigger_id, seconds=59) is None
    run = api.mosaic.fire_trigger(trigger_id, seconds=60, video_id="v1")
    assert run is not None
    # A repeated video starts no run.
    assert api.mosaic.fire_trigger(trigger_id, video_id="v1") is None
    assert api.end(run["run_id"])["status"] == "completed"
    (listed,) = api.get(f"/trigger/{trigger_id}/runs").json()["runs"]
    assert listed["run_id"] == run["run_id"]
    assert listed["triggered_by"] == {"trigger_id": trigger_id}
    assert (api.mosaic.counts().runs_triggered, api.mosaic.counts().runs_started) == (1, 0)
    api.mosaic.configure(listed_trigger="nested")
    nested = api.get("/agent_runs").json()["runs"][0]["triggered_by"]
    assert (nested["type"], nested["youtube"]["channel"], nested["youtube"]["id"]) == ("youtube", ONE, "v1")
    with pytest.raises(ValueError, match="does not watch"):
        api.mosaic.fire_trigger(trigger_id, channel_id=TWO)
    with pytest.raises(LookupError):
        api.mosaic.fire_trigger("none")


def test_webhooks_of_a_triggered_run(api: Api, receiver: Receiver) -> None:
    add(api, ONE, trigger_callback_url=receiver.url)
    trigger_id = triggers(api)[0]["id"]
    run = api.mosaic.fire_trigger(trigger_id, video_id="v1", video_title="Demo")
    assert run is not None
    api.end(run["run_id"])
    until(lambda: receiver.flags().count("RUN_FINISHED"), lambda count: count == 1)
    result = receiver.events[0]["triggered_by"]
    assert (result["type"], result["trigger_id"], result["channel_id"], result["video_title"]) == (
        "youtube",
        trigger_id,
        ONE,
        "Demo",
    )


def test_runs_of_an_unknown_trigger(api: Api) -> None:
    assert api.get("/trigger/none/runs").status_code == 404
    api.mosaic.configure(unknown_trigger_runs=200)
    assert api.get("/trigger/none/runs").json() == {"runs": [], "next_cursor": None}
    assert api.get(f"/trigger/{DRIVE_TRIGGER_ID}/runs", params={"agent_id": "x"}).status_code == 400


def test_new_files_start_a_run(api: Api) -> None:
    run = api.mosaic.fire_trigger(DRIVE_TRIGGER_ID, file_names=["x.mp4", "y.mp4"])
    other = api.mosaic.fire_trigger(BUCKET_TRIGGER_ID)
    assert run is not None
    assert other is not None
    assert (run["agent_id"], other["agent_id"]) == (DEFAULT_AGENT_ID, TWO_BRANCH_AGENT_ID)
    batch = api.get("/storage_batches", params={"trigger_id": DRIVE_TRIGGER_ID}).json()["storage_batches"][0]
    assert (batch["agent_state_id"], batch["stage"]) == (run["run_id"], "started")
    items = api.get(f"/storage_batch/{batch['id']}/items").json()["items"]
    assert {each["file_name"] for each in items} == {"x.mp4", "y.mp4"}

    def found(**query: str) -> list[str]:
        return [each["run_id"] for each in api.get("/pipeline_runs", params=query).json()["pipeline_runs"]]

    assert found(folder_id=DRIVE_FOLDER) == found(batch_id=batch["id"]) == [run["run_id"]]
    assert found(storage_trigger_id=BUCKET_TRIGGER_ID) == found(batch_key=BATCH_KEY) == [other["run_id"]]
    assert found(batch_id="none") == []
    api.post(f"/agent/{DEFAULT_AGENT_ID}/delete")
    assert api.mosaic.fire_trigger(DRIVE_TRIGGER_ID) is None
    waiting = api.get("/storage_batches", params={"trigger_id": DRIVE_TRIGGER_ID}).json()["storage_batches"][0]
    assert (waiting["agent_state_id"], waiting["stage"]) == (None, "open")


def test_triggers_of_copied_and_deleted_agents(api: Api) -> None:
    add(api, ONE)
    copies = []
    for expected in (False, True):
        api.mosaic.configure(duplicate_triggers=expected)
        copy = api.post(f"/agent/{DEFAULT_AGENT_ID}/duplicate", {}).json()["agent"]["id"]
        copies.append([each["youtube_channels"] for each in api.get(f"/agent/{copy}/triggers").json()])
    assert copies == [[], [[ONE]]]
    trigger_id = triggers(api)[0]["id"]
    api.post(f"/agent/{DEFAULT_AGENT_ID}/delete")
    assert api.get(PATH).status_code == 404
    assert api.get(f"/trigger/{trigger_id}/runs").status_code == 404


def test_webhook_inputs_of_a_triggered_run(api: Api, receiver: Receiver) -> None:
    add(api, ONE, trigger_callback_url=receiver.url)
    trigger_id = triggers(api)[0]["id"]
    api.mosaic.fire_trigger(trigger_id, video_id="dQw4w9WgXcQ")
    until(receiver.flags, lambda flags: "RUN_FINISHED" in flags)
    start = next(event for event in receiver.events if event["flag"] == "RUN_STARTED")
    assert start["inputs"] == [{"video_url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ", "thumbnail_url": None}]
    assert start["triggered_by"]["video_id"] == "dQw4w9WgXcQ"
    end = next(event for event in receiver.events if event["flag"] == "RUN_FINISHED")
    assert end["inputs"][0]["video_url"].startswith("http://127.0.0.1")


def test_webhooks_as_in_the_sample_listener(api: Api, receiver: Receiver) -> None:
    api.mosaic.configure(webhook_trigger="sample", webhook_inputs="files")
    add(api, ONE, trigger_callback_url=receiver.url)
    api.mosaic.fire_trigger(triggers(api)[0]["id"], video_id="v1", video_title="Demo")
    until(receiver.flags, lambda flags: {"RUN_STARTED", "RUN_FINISHED"} <= set(flags))
    events = {event["flag"]: event for event in receiver.events}
    youtube = {"id": "v1", "channel": ONE, "title": "Demo", "url": "https://www.youtube.com/watch?v=v1"}
    assert events["RUN_STARTED"]["triggered_by"]["youtube"] == youtube
    assert events["RUN_FINISHED"]["triggered_by"]["channel_name"] == f"Channel {ONE[2:8]}"
    assert events["RUN_FINISHED"]["triggered_by"]["video_title"] == "Demo"
    for event in events.values():
        if "inputs" in event:
            assert [set(each) for each in event["inputs"]] == [{"video_id", "file_name", "file_url", "uploaded_at"}]
