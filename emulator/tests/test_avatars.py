from __future__ import annotations

from typing import Any

import httpx
import pytest
from mosaic_emulator.catalogue import NODE_TYPES

from .conftest import Api, until

BY_URL = {"video_url": "https://cdn.example.org/host.mp4"}
VIDEO = {"name": "Host", "sources": BY_URL}
IMAGE_AND_AUDIO = {"image_url": "https://cdn.example.org/host.jpg", "audio_url": "https://cdn.example.org/host.mp3"}


def create(api: Api, body: dict[str, Any] | None = None) -> dict[str, Any]:
    response = api.post("/avatar-profiles/create", body or VIDEO)
    assert response.status_code == 200, response.text
    return dict(response.json())


def processed(api: Api, profile_id: str) -> dict[str, Any]:
    return until(
        lambda: dict(api.get(f"/avatar-profiles/{profile_id}").json()),
        lambda profile: profile["status"] in ("ready", "failed"),
    )


def test_profile_becomes_ready(api: Api, storage: httpx.Client) -> None:
    profile = create(api)
    assert profile == {
        "id": profile["id"],
        "name": "Host",
        "status": "pending",
        "status_message": None,
        "video_preview_url": None,
    }
    ready = processed(api, profile["id"])
    assert (ready["status"], ready["status_message"]) == ("ready", None)
    assert storage.get(ready["video_preview_url"]).status_code == 200
    assert [each["id"] for each in api.get("/avatar-profiles").json()["avatar_profiles"]] == [profile["id"]]
    assert api.mosaic.counts().avatars_created == 1


def test_profile_can_fail_or_be_held(api: Api) -> None:
    api.mosaic.configure(failing_avatars={"Host": "Two people"}, hold_avatars=True)
    profile_id = create(api)["id"]
    until(lambda: api.get(f"/avatar-profiles/{profile_id}").json()["status"], lambda status: status == "processing")
    api.mosaic.configure(hold_avatars=False)
    failed = processed(api, profile_id)
    assert (failed["status"], failed["status_message"], failed["video_preview_url"]) == ("failed", "Two people", None)


def test_profile_from_uploads(api: Api) -> None:
    with_video = create(api, {"name": "Host", "sources": {"video_id": api.upload()}})
    # The preview is available from the start.
    assert with_video["video_preview_url"] is not None
    missing = {"name": "Host", "sources": {"video_id": "none"}}
    assert api.post("/avatar-profiles/create", missing).status_code == 404
    unfinished = {"name": "Host", "sources": {"video_id": api.reserve()["video_id"]}}
    assert api.post("/avatar-profiles/create", unfinished).status_code == 404
    assert create(api, {"name": "Host", "sources": {**IMAGE_AND_AUDIO, **BY_URL}})["status"] == "pending"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "Host"},
        {"name": "", "sources": BY_URL},
        {"name": "Host", "sources": {}},
        {"name": "Host", "sources": {"image_url": "https://cdn.example.org/host.jpg"}},
        {"name": "Host", "sources": {"video_url": "host.mp4"}},
        {"name": "Host", "sources": {"video_url": "https://cdn.example.org/host.mp4", "video_id": "x"}},
        {"name": "Host", "sources": {"voice_url": "https://cdn.example.org/host.mp3"}},
        {**VIDEO, "workspace_id": "x"},
    ],
)
def test_invalid_profile_is_rejected(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/avatar-profiles/create", body).status_code == 400
    assert api.mosaic.counts().avatars_created == 0


def test_create_response_shapes(api: Api) -> None:
    api.mosaic.configure(avatar_create_response="wrapped", created_status=201)
    response = api.post("/avatar-profiles/create", VIDEO)
    assert response.status_code == 201
    assert response.json()["avatar_profile"]["status"] == "pending"
    api.mosaic.configure(avatar_create_response="id")
    assert set(api.post("/avatar-profiles/create", VIDEO).json()) == {"id"}


def test_profiles_with_list_lag_or_unknown_status(api: Api) -> None:
    api.mosaic.configure(list_lag=60)
    profile_id = create(api)["id"]
    assert api.get("/avatar-profiles").json() == {"avatar_profiles": []}
    api.mosaic.inject("unknown_status", method="GET")
    assert api.get(f"/avatar-profiles/{profile_id}").json()["status"] == "under_review"
    assert api.get("/avatar-profiles/none").status_code == 404


def with_avatar(api: Api, profile_id: str) -> str:
    agent_id = str(api.post("/agent/create", {}).json()["agent_id"])
    tile = {"op": "create_node", "node_type_id": NODE_TYPES["AI Avatar"].id}
    operation = {**tile, "params_used": {"avatar_profile_id": profile_id}}
    assert api.post(f"/agent/{agent_id}/update", {"operations": [operation]}).status_code == 200
    return agent_id


def test_run_waits_for_its_profile(api: Api) -> None:
    api.mosaic.configure(hold_avatars=True)
    profile_id = create(api)["id"]
    run_id = api.start(body={}, agent_id=with_avatar(api, profile_id))
    until(lambda: api.nodes(run_id)[0]["status"], lambda status: status == "running")
    assert api.run(run_id)["status"] == "running"
    api.mosaic.configure(hold_avatars=False)
    assert api.end(run_id)["status"] == "completed"


def test_run_fails_with_its_profile(api: Api) -> None:
    api.mosaic.configure(failing_avatars={"Host": "Two people"})
    for profile_id, message in ((create(api)["id"], "Two people"), ("none", "could not be found")):
        run = api.finished(body={}, agent_id=with_avatar(api, profile_id))
        assert run["status"] == "failed"
        assert message in run["status_message"]
