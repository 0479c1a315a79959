"""Options of the publishing service, and the workspace of a post."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import SECOND_WORKSPACE_ID, WORKSPACE_ID
from tasks.fakes import StateStore
from tasks.fixtures import Clock, effects, sent
from tasks.task_runs import LATE, fails_with, one_post, post_task, rendered

from airflow_provider_mosaic.api.endpoints.posts import create_post
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicValidationError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicSocialPostOperator

POST = "/social/post"
OPTIONS = {
    "youTubeOptions": {"title": "Episode 7", "visibility": "public", "tags": ["a"]},
    "tikTokOptions": {"visibility": "private"},
}
FOREIGN = "50000000-0000-4000-8000-00000000ffff"


def body_sent(mosaic: Emulator) -> dict[str, Any]:
    [body] = [request["body"] for request in mosaic.requests() if request["template"] == POST]
    assert isinstance(body, dict)
    return body


def narrowed_to(workspace: str, mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(mosaic.airflow_connection())
    connection["extra"] = {"workspace_id": workspace}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))


# Options


@pytest.mark.parametrize("given", [OPTIONS, json.dumps(OPTIONS), str(OPTIONS)], ids=["object", "json", "text"])
def test_options_are_sent_unchanged(mosaic: Emulator, given: Any) -> None:
    post_task(StateStore(), provider_options=given).execute()
    body = body_sent(mosaic)
    assert {name: body[name] for name in OPTIONS} == OPTIONS
    assert body["post"] == "Hello"


def test_hook_accepts_options(mosaic: Emulator, hook: MosaicHook) -> None:
    hook.create_post("Hello", platforms=["youtube"], provider_options=OPTIONS, workspace_id=WORKSPACE_ID)
    assert body_sent(mosaic) == {"post": "Hello", "platforms": ["youtube"], "workspace_id": WORKSPACE_ID, **OPTIONS}


def test_options_are_templated() -> None:
    assert {"provider_options", "workspace_id"} <= set(MosaicSocialPostOperator.template_fields)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("title", "provider_options"),
        ([], "provider_options"),
        ({5: "x"}, "provider_options"),
        ({"youTubeOptions": "Episode"}, "provider_options['youTubeOptions']"),
        ({"youTubeOptions": {"title": ""}}, "provider_options['youTubeOptions']['title']"),
        ({"youTubeOptions": {"title": 7}}, "provider_options['youTubeOptions']['title']"),
        ({"youTubeOptions": {"title": "t" * 101}}, "provider_options['youTubeOptions']['title']"),
        ({"youTubeOptions": {"visibility": "Public"}}, "provider_options['youTubeOptions']['visibility']"),
        ({"youTubeOptions": {"madeForKids": "False"}}, "provider_options['youTubeOptions']['madeForKids']"),
        ({"tikTokOptions": ["x"]}, "provider_options['tikTokOptions']"),
        # In either spelling it would replace a validated argument, by which a lost post is found.
        *(
            ({key: "x"}, f"provider_options[{key!r}]")
            for key in ("post", "platforms", "mediaUrls", "media_urls", "scheduleDate", "destinations", "workspace_id")
        ),
    ],
)
def test_wrong_options_are_rejected_and_nothing_is_posted(mosaic: Emulator, options: Any, name: str) -> None:
    message = fails_with(post_task(StateStore(), provider_options=options, **LATE).execute, MosaicValidationError)
    assert f"{name}=" in message
    assert effects(mosaic) == {}


def test_no_options_do_not_change_the_request() -> None:
    plain = create_post("Hello", platforms=["x"])
    assert create_post("Hello", platforms=["x"], provider_options={}).body == plain.body == {
        "post": "Hello",
        "platforms": ["x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("provider_options", {"youTubeOptions": {"title": "Episode 8"}}),
        ("workspace_id", None),
    ],
)
def test_other_options_are_another_post(mosaic: Emulator, name: str, changed: Any) -> None:
    store = StateStore()
    first = {"provider_options": OPTIONS, "workspace_id": WORKSPACE_ID}
    post_task(store, **first).execute()
    # The same task at its first attempt: only the request differs.
    again = post_task(store, **first)
    assert again.execute() == one_post(mosaic)["post_id"]
    fails_with(post_task(store, **{**first, name: changed}).execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 1}


def test_post_with_options_is_found_after_a_lost_response(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=POST)
    task = post_task(StateStore(), provider_options=OPTIONS, workspace_id=WORKSPACE_ID)
    assert task.execute() == one_post(mosaic)["post_id"]
    assert sent(mosaic, "POST " + POST) == 1


# The workspace


def test_workspace_of_the_argument_or_the_connection(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed_to(WORKSPACE_ID, mosaic, monkeypatch)
    post_task(StateStore()).execute()
    assert body_sent(mosaic)["workspace_id"] == WORKSPACE_ID


def test_changed_workspace_of_the_connection_creates_no_second_post(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore()
    post_id = post_task(store).execute()
    narrowed_to(WORKSPACE_ID, mosaic, monkeypatch)
    assert post_task(store).execute() == post_id
    assert effects(mosaic) == {"posts_made": 1}


def test_unknown_workspace_is_rejected(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed_to(WORKSPACE_ID, mosaic, monkeypatch)
    message = fails_with(post_task(StateStore(), workspace_id=FOREIGN).execute, MosaicValidationError)
    assert f"workspace_id='{FOREIGN}'" in message
    assert WORKSPACE_ID in message
    assert effects(mosaic) == {}


@pytest.mark.parametrize("listed", ["all", "primary"])
def test_lost_post_in_another_workspace_is_found(mosaic: Emulator, clock: Clock, listed: str) -> None:
    mosaic.configure(lists_without_workspace=listed)
    mosaic.inject("response_lost", method="POST", path=POST)
    post_id = post_task(StateStore(), workspace_id=SECOND_WORKSPACE_ID).execute()
    assert one_post(mosaic)["post_id"] == post_id
    assert effects(mosaic) == {"posts_made": 1}


def test_workspace_that_is_no_id_is_rejected(mosaic: Emulator) -> None:
    message = fails_with(post_task(StateStore(), workspace_id="a b", **LATE).execute, MosaicValidationError)
    assert "workspace_id='a b'" in message
    assert effects(mosaic) == {}


# Links that expire before the post is published


def link(*, ends: datetime) -> str:
    return f"https://cdn.example.org/a.mp4?Expires={int(ends.timestamp())}&Signature=marked-secret"


@pytest.mark.parametrize(
    ("argument", "wrap"),
    [
        ("media_urls", lambda link: [link]),
        ("media_urls", str),
        ("media_urls", lambda link: str([link])),
        ("provider_options", lambda link: {"youTubeOptions": {"title": "t", "thumbNail": link}}),
    ],
)
def test_link_that_expires_before_publication_is_rejected(mosaic: Emulator, argument: str, wrap: Any) -> None:
    due = datetime.now(timezone.utc) + timedelta(days=30)
    early, late = link(ends=due - timedelta(days=1)), link(ends=due + timedelta(days=1))
    task = post_task(StateStore(), schedule_date=due, **{argument: wrap(early)})
    message = fails_with(task.execute, MosaicValidationError)
    assert f"{argument}=" in message
    assert "marked-secret" not in message
    assert effects(mosaic) == {}
    post_task(StateStore(), schedule_date=due, **{argument: wrap(late)}).execute()
    assert effects(mosaic) == {"posts_made": 1}


def test_expired_link_is_rejected(mosaic: Emulator) -> None:
    ended = datetime.now(timezone.utc) - timedelta(hours=1)
    message = fails_with(post_task(StateStore(), media_urls=[link(ends=ended)]).execute, MosaicValidationError)
    assert "media_urls=" in message
    # To a clock that is some minutes ahead, a valid link would look the same.
    just_now = datetime.now(timezone.utc) - timedelta(minutes=5)
    post_task(StateStore(), media_urls=[link(ends=just_now)]).execute()
    assert effects(mosaic) == {"posts_made": 1}


def test_output_is_not_scheduled_beyond_the_expiry_of_its_link(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    mosaic.configure(link_seconds=3600)
    later = datetime.now(timezone.utc) + timedelta(days=2)
    message = fails_with(post_task(StateStore(), run_id=run_id, schedule_date=later).execute, MosaicValidationError)
    assert f"output_ids='{output_ids[0]}'" in message
    assert effects(mosaic) == {"runs_started": 1}


def test_retry_continues_with_its_post_after_the_links_expired(mosaic: Emulator, monkeypatch: Any) -> None:
    store = StateStore()
    signed = link(ends=datetime.now(timezone.utc) + timedelta(days=2))
    post_id = post_task(store, media_urls=[signed]).execute()
    ended = link(ends=datetime.now(timezone.utc) - timedelta(days=2))
    assert post_task(store, media_urls=[ended]).execute() == post_id
    assert effects(mosaic) == {"posts_made": 1}
