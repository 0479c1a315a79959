"""An avatar profile is created once, over lost responses, kills and retries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.catalogue import SECOND_WORKSPACE_ID
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import DagRun, Killed, StateStore, TaskRunner
from tasks.fixtures import Clock, effects, in_pause, sent
from tasks.task_runs import LATE

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile, list_avatar_profiles
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicCreateAvatarProfileOperator

CREATE = "/avatar-profiles/create"
LIST = "/avatar-profiles"
VIDEO = "https://cdn.example.org/host.mp4"


def task_runner(
    store: StateStore | None, *, dag_run: DagRun | None = None, map_index: int = -1, **options: Any
) -> TaskRunner:
    arguments = {"task_id": "avatar", "name": "Host", "video_url": VIDEO, **options}
    return TaskRunner(
        lambda: MosaicCreateAvatarProfileOperator(**arguments), store=store, dag_run=dag_run, map_index=map_index
    )


def profiles(hook: MosaicHook) -> list[str]:
    """Return the names, the oldest first."""
    return [profile.id for profile in hook.list_avatar_profiles()][::-1]


def test_lost_profile_is_found_with_a_connection_to_another_workspace(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(avatar_workspace="primary")
    connection = json.loads(mosaic.airflow_connection()) | {"extra": {"workspace_id": SECOND_WORKSPACE_ID}}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    mosaic.inject("response_lost", method="POST", path=CREATE)
    assert [task_runner(StateStore()).execute()] == profiles(MosaicHook())
    assert effects(mosaic) == {"avatars_created": 1}


def show_names(monkeypatch: pytest.MonkeyPatch, names: dict[str, str]) -> None:
    """Let the list show names as a server may rewrite them."""

    def rewritten(hook: MosaicHook) -> list[AvatarProfile]:
        listed = hook.send(list_avatar_profiles())
        return [profile.model_copy(update={"name": names[str(profile.name)]}) for profile in listed]

    monkeypatch.setattr(MosaicHook, "list_avatar_profiles", rewritten)


def failure_of(task: TaskRunner, kind: type[Exception]) -> str:
    with pytest.raises(AirflowFailException) as failure:
        task.execute()
    assert type(failure.value.error) is kind
    return str(failure.value)


def test_profile_is_created_once_and_its_id_is_pushed(mosaic: Emulator, hook: MosaicHook) -> None:
    task = task_runner(StateStore())
    profile_id = task.execute()
    assert profiles(hook) == [profile_id]
    assert task.xcom("mosaic_avatar_profile_id") == profile_id
    assert effects(mosaic) == {"avatars_created": 1}


def test_image_and_voice(mosaic: Emulator, hook: MosaicHook) -> None:
    task = task_runner(
        StateStore(),
        video_url=None,
        image_url="https://cdn.example.org/host.jpg",
        audio_url="https://cdn.example.org/host.mp3",
    )
    assert [task.execute()] == profiles(hook)


@pytest.mark.parametrize(
    ("fault", "options"),
    [("response_lost", {}), ("truncated_json", {}), ("empty", {}), ("server_error", {"status": 502, "effect": True})],
)
def test_profile_is_found_by_name_after_a_lost_response(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, fault: str, options: dict[str, Any]
) -> None:
    hook.create_avatar_profile("Host", video_url=VIDEO)
    hook.create_avatar_profile("Guest", video_url=VIDEO)
    before = profiles(hook)
    mosaic.inject(fault, method="POST", path=CREATE, **options)
    profile_id = task_runner(StateStore()).execute()
    assert profiles(hook) == [*before, profile_id]
    assert sent(mosaic, "POST " + CREATE) == 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Cafe\u0301 host", "Caf\u00e9 host"),
        ("Host & Co", "Host &amp; Co"),
        ("Host & Co", "HOST & CO"),
        ("Host of the  show", "Host of the show"),
        ("Host of the morning show", "Host of the morn…"),
    ],
)
def test_profile_whose_name_was_rewritten_is_found_after_a_lost_response(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, clock: Clock, name: str, shown: str
) -> None:
    show_names(monkeypatch, {name: shown})
    mosaic.inject("response_lost", method="POST", path=CREATE)
    first = task_runner(StateStore(), name=name).execute()
    assert effects(mosaic) == {"avatars_created": 1}
    # The profile from before is not taken for the next one.
    mosaic.inject("response_lost", method="POST", path=CREATE)
    assert task_runner(StateStore(), name=name).execute() != first
    assert effects(mosaic) == {"avatars_created": 2}


@pytest.mark.parametrize("shown", ["Host of the morn", "", "Host of the morning show (2)"])
def test_profile_whose_name_was_cut_or_extended_is_not_created_again(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, clock: Clock, shown: str
) -> None:
    name = "Host of the morning show"
    show_names(monkeypatch, {name: shown})
    mosaic.inject("response_lost", method="POST", path=CREATE)
    failure_of(task_runner(StateStore(), name=name), MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"avatars_created": 1}


def test_profile_with_a_similar_name_is_another_one(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    store = StateStore()
    # Another program creates it after the snapshot.
    store.after_set = lambda value: profiles(hook) or hook.create_avatar_profile("Host B", video_url=VIDEO)
    mosaic.inject("server_error", method="POST", path=CREATE, status=504, skip=1)
    task_runner(store, name="Host A").execute()
    assert effects(mosaic) == {"avatars_created": 2}


@pytest.mark.parametrize("shape", ["wrapped", "id"])
def test_other_response_shape_creates_no_second_profile(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, shape: str
) -> None:
    mosaic.configure(avatar_create_response=shape)
    assert profiles(hook) == []
    assert [task_runner(StateStore()).execute()] == profiles(hook)
    assert effects(mosaic) == {"avatars_created": 1}


def test_delayed_list_is_read_until_it_shows_the_profile(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(list_lag=3600)
    in_pause(clock, monkeypatch, lambda: mosaic.configure(list_lag=0), number=3)
    mosaic.inject("response_lost", method="POST", path=CREATE)
    profile_id = task_runner(StateStore()).execute()
    assert sent(mosaic, "GET " + LIST) >= 8
    assert profiles(hook) == [profile_id]


def test_request_without_effect_is_sent_again_after_two_minutes(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    mosaic.inject("server_error", method="POST", path=CREATE, status=502)
    assert [task_runner(StateStore()).execute()] == profiles(hook)
    assert clock.elapsed >= 119


def test_two_requests_without_effect_can_be_retried(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=CREATE, status=502, times=2)
    task = task_runner(StateStore())
    with pytest.raises(MosaicServerError):
        task.execute()
    task.execute()
    assert effects(mosaic) == {"avatars_created": 1}


@pytest.mark.parametrize("moment", ["intent", "id"])
def test_killed_task_creates_no_second_profile(mosaic: Emulator, hook: MosaicHook, clock: Clock, moment: str) -> None:
    task = task_runner(StateStore().killing_at(moment))
    with pytest.raises(Killed):
        task.execute()
    assert [task.execute()] == profiles(hook)
    assert effects(mosaic) == {"avatars_created": 1}


def test_retry_without_a_store_fails_if_the_name_exists(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    task = task_runner(None)
    made = task.execute()
    assert made in failure_of(task, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"avatars_created": 1}


def test_retry_without_a_store_ignores_profiles_with_similar_names(
    mosaic: Emulator, hook: MosaicHook, clock: Clock
) -> None:
    for name in ("Host 10", "H"):
        hook.create_avatar_profile(name, video_url=VIDEO)
    task = task_runner(None)
    mosaic.inject("rate_limit", method="POST", path=CREATE, times=6)
    with pytest.raises(MosaicError):
        task.execute()
    mosaic.clear_faults()
    assert task.execute() in profiles(hook)
    assert effects(mosaic) == {"avatars_created": 3}


def test_profile_of_a_sibling_is_not_adopted(mosaic: Emulator, hook: MosaicHook, clock: Clock) -> None:
    store, dag_run = StateStore(), DagRun()
    theirs: list[str] = []

    def create_first(value: dict[str, Any]) -> None:
        if not theirs:
            theirs.append(hook.create_avatar_profile("Host", video_url=VIDEO).id)
            dag_run.xcoms[("avatar", 7, "mosaic_avatar_profile_id")] = theirs[0]
            dag_run.states |= {"avatar_0": "running", "avatar_7": "success"}

    store.after_set = create_first
    mosaic.inject("response_lost", method="POST", path=CREATE, skip=1)
    profile_id = task_runner(store, dag_run=dag_run, map_index=0).execute()
    assert profiles(hook) == [*theirs, profile_id]


def test_clear_creates_a_new_profile(mosaic: Emulator) -> None:
    task = task_runner(StateStore())
    first = task.execute()
    task.clear()
    assert task.execute() != first
    assert effects(mosaic) == {"avatars_created": 2}


def test_missing_source_fails_without_retries(mosaic: Emulator) -> None:
    failure_of(task_runner(StateStore(), video_url=None, video_id="no-such-video"), MosaicNotFoundError)
    assert effects(mosaic) == {}


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"video_url": None}, "needs a video, or an image and audio"),
        ({"video_url": None, "image_url": "https://cdn.example.org/host.jpg"}, "needs a video"),
        ({"video_id": "v"}, "give it or video_url, not both"),
    ],
)
def test_wrong_combinations_are_rejected_before_anything_is_sent(
    mosaic: Emulator, options: dict[str, Any], pattern: str
) -> None:
    assert pattern in failure_of(task_runner(StateStore(), **options, **LATE), MosaicValidationError)
    assert mosaic.requests() == []
