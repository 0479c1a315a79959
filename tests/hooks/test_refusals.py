"""Refusals over real sockets: in every shape of an error each is its own exception, over both transports."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.settings import Settings

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.agents import create_agent
from airflow_provider_mosaic.api.endpoints.billing import set_auto_topup
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicValidationError,
)
from airflow_provider_mosaic.hooks.endpoint_methods import EndpointMethods
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .both_transports import TRANSPORTS
from .shapes import OF_REFUSALS, values_of

NOBODY = "00000000-0000-4000-8000-000000000000"
DEFAULT = "a0000000-0000-4000-8000-000000000001"
GENERATING = "a0000000-0000-4000-8000-000000000004"
ACCOUNT = "c0000000-0000-4000-8000-000000000001"

#: Every method that is told an id, with one that nothing has.
UNKNOWN: dict[str, Callable[[EndpointMethods], Any]] = {
    "get_agent": lambda api: api.get_agent(NOBODY),
    "get_agent_node": lambda api: api.get_agent_node(NOBODY),
    "update_agent": lambda api: api.update_agent(NOBODY, name="A name"),
    "delete_agent": lambda api: api.delete_agent(NOBODY),
    "duplicate_agent": lambda api: api.duplicate_agent(NOBODY),
    "get_node_type": lambda api: api.get_node_type(NOBODY),
    "run_agent": lambda api: api.run_agent(NOBODY),
    "get_run": lambda api: api.get_run(NOBODY),
    "get_run_nodes": lambda api: api.get_run_nodes(NOBODY),
    "cancel_run": lambda api: api.cancel_run(NOBODY),
    "resume_run": lambda api: api.resume_run(NOBODY),
    "list_runs": lambda api: list(api.list_runs(NOBODY)),
    "list_trigger_runs": lambda api: list(api.list_trigger_runs(NOBODY)),
    "get_run_progress": lambda api: api.get_run_progress(NOBODY),
    "list_run_tasks": lambda api: list(api.list_run_tasks(NOBODY)),
    "list_run_notifications": lambda api: list(api.list_run_notifications(NOBODY)),
    "list_notification_configurations": lambda api: list(api.list_notification_configurations(NOBODY)),
    "list_triggers": lambda api: api.list_triggers(NOBODY),
    "add_youtube_channels": lambda api: api.add_youtube_channels(NOBODY, "@demo"),
    "remove_youtube_channels": lambda api: api.remove_youtube_channels(NOBODY, "@demo"),
    "list_watched_folders": lambda api: list(api.list_watched_folders(NOBODY)),
    "list_storage_events": lambda api: list(api.list_storage_events(NOBODY)),
    "list_batch_items": lambda api: list(api.list_batch_items(NOBODY)),
    "finalize_upload": lambda api: api.finalize_upload("video", NOBODY),
    "get_view_url": lambda api: api.get_view_url("video", NOBODY),
    "get_avatar_profile": lambda api: api.get_avatar_profile(NOBODY),
    "get_social_connection": lambda api: api.get_social_connection(NOBODY),
    "delete_social_connection": lambda api: api.delete_social_connection(NOBODY),
    "create_post": lambda api: api.create_post("Hello", social_connection_ids=NOBODY),
    "get_post": lambda api: api.get_post(NOBODY),
    "update_post": lambda api: api.update_post(NOBODY, approve=True),
    "delete_post": lambda api: api.delete_post(NOBODY),
    "get_post_analytics": lambda api: api.get_post_analytics(NOBODY),
    "list_post_comments": lambda api: list(api.list_post_comments(NOBODY)),
}
ERROR_SHAPES = [
    {"detail_shape": shape, "error_codes": codes, "validation_status": status}
    for shape, codes, status in itertools.product(("text", "list", "object"), (True, False), (400, 422))
]


BY_STATUS: dict[int, type[MosaicError]] = {
    400: MosaicValidationError,
    403: MosaicPermissionError,
    404: MosaicNotFoundError,
    409: MosaicConflictError,
    422: MosaicValidationError,
}


@dataclass(frozen=True)
class WrongUse:
    """
    Something that Mosaic may refuse in several ways, or not at all.

    :param act: What is done.
    :param beside: What else the emulator has to be told.
    :param words: The status of a value that is a word.
    """

    act: Callable[[EndpointMethods, Emulator], object]
    beside: dict[str, Any] = field(default_factory=dict)
    words: dict[Any, int] = field(default_factory=dict)


def _twice(make: Callable[[EndpointMethods], str], act: Callable[[EndpointMethods, str], object]) -> WrongUse:
    def both(api: EndpointMethods, mosaic: Emulator) -> None:
        made = make(api)
        act(api, made)
        act(api, made)

    return WrongUse(both)


def _cancel_ended(api: EndpointMethods, mosaic: Emulator) -> None:
    run_id = api.run_agent(GENERATING)
    mosaic.finish_run(run_id)
    assert api.cancel_run(run_id).tasks_cancelled == 0


def _tomorrow(api: EndpointMethods) -> str:
    moment = datetime.now(timezone.utc) + timedelta(days=1)
    return api.create_post("Tomorrow", social_connection_ids=ACCOUNT, schedule_date=moment).post_id


def _node(place: int) -> str:
    return f"b0000001-0000-4000-8000-00000000000{place}"


def _operation(**operation: str) -> Callable[[EndpointMethods, Emulator], object]:
    return lambda api, mosaic: api.update_agent(DEFAULT, operations=[operation])


def _generate_without_prompt(api: EndpointMethods, mosaic: Emulator) -> None:
    made = api.create_agent(name="Poster").agent_id
    operation = {"op": "create_node", "node_type_id": "18b998a0-2ea7-4676-a5d3-3ae6c8ac0b72"}
    api.update_agent(made, operations=[operation])
    api.run_agent(made)


WRONG_USE: dict[str, WrongUse] = {
    "required_params": WrongUse(
        _generate_without_prompt, words={"update": 400, "start": 400, "run": 200, "ignore": 200}
    ),
    "unknown_operation_node_status": WrongUse(_operation(op="delete_node", agent_node_id=NOBODY)),
    "unknown_node_types": WrongUse(
        _operation(op="create_node", node_type_id=NOBODY), words={"accept": 200, "refuse": 404}
    ),
    "repeated_connection": WrongUse(
        _operation(op="create_connection", source_agent_node_id=_node(1), target_agent_node_id=_node(2)),
        words={"refuse": 400, "ignore": 200},
    ),
    "repeated_delete": _twice(
        lambda api: api.create_agent(name="Gone").agent_id, lambda api, made: api.delete_agent(made)
    ),
    "empty_agents": WrongUse(
        lambda api, mosaic: api.run_agent(api.create_agent(name="Empty").agent_id), words={"run": 200, "refuse": 400}
    ),
    "cancel_terminal_status": WrongUse(_cancel_ended, {"hold_runs": True}),
    "unknown_input_status": WrongUse(lambda api, mosaic: api.run_agent(DEFAULT, video_ids=NOBODY)),
    "unknown_ignored_node_status": WrongUse(lambda api, mosaic: api.run_agent(GENERATING, ignore_nodes=[NOBODY])),
    "mixed_shorthand": WrongUse(
        lambda api, mosaic: api.run_agent(DEFAULT, video_urls=mosaic.url, node_render_ids=NOBODY),
        {"unknown_input_status": 404},
        {True: 404, False: 400},
    ),
    "unknown_channel_removal": WrongUse(lambda api, mosaic: api.remove_youtube_channels(DEFAULT, "@nobody")),
    "unknown_trigger_runs": WrongUse(lambda api, mosaic: list(api.list_trigger_runs(NOBODY))),
    "platforms_allowed": WrongUse(
        lambda api, mosaic: api.create_post("Hello", platforms=["x"]), words={True: 200, False: 400}
    ),
    "unknown_workspace_status": WrongUse(
        lambda api, mosaic: api.create_post("Hello", social_connection_ids=ACCOUNT, workspace_id=NOBODY)
    ),
    "past_schedule": WrongUse(
        lambda api, mosaic: api.update_post(_tomorrow(api), schedule_date="2020-01-01T00:00:00Z"),
        words={"publish": 200, "refuse": 400},
    ),
    "wrong_post_state_status": WrongUse(lambda api, mosaic: api.update_post(_tomorrow(api), approve=True)),
    "repeated_post_delete": _twice(_tomorrow, lambda api, made: api.delete_post(made)),
    "unpublished_status": WrongUse(lambda api, mosaic: api.get_post_analytics(_tomorrow(api))),
    "connection_limit_status": WrongUse(lambda api, mosaic: api.create_connect_link("tiktok"), {"max_connections": 1}),
    "out_of_range_status": WrongUse(
        lambda api, mosaic: api.send(
            replace(
                set_auto_topup(enabled=True),
                body={"auto_topup": {"enabled": True, "threshold": -1, "quantity": 1}},
            )
        )
    ),
    "same_plan_status": WrongUse(lambda api, mosaic: api.upgrade_plan("professional")),
}
REFUSING_SWITCHES = [
    (name, value)
    for name in WRONG_USE
    for value in [Settings.model_fields[name].default, *values_of(Settings.model_fields[name])]
]


@pytest.fixture(params=TRANSPORTS)
def api(request: pytest.FixtureRequest, mosaic_emulator: Emulator) -> Iterator[EndpointMethods]:
    access = Access(api_key=mosaic_emulator.api_key, base_url=mosaic_emulator.url)
    with closing(TRANSPORTS[request.param](access)) as endpoints:
        yield endpoints


def refusal(act: Callable[[], Any], kind: type[MosaicError]) -> str:
    with pytest.raises(MosaicError) as caught:
        act()
    assert type(caught.value) is kind, caught.value
    assert caught.value.detail
    assert caught.value.detail in str(caught.value)
    assert not caught.value.transient
    assert not caught.value.effect_unknown
    return str(caught.value)


@pytest.mark.parametrize("shape", ERROR_SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_every_refusal_is_its_own_exception_in_every_shape(
    mosaic_emulator: Emulator, api: EndpointMethods, shape: dict[str, Any]
) -> None:
    mosaic_emulator.configure(**shape)
    for name, act in UNKNOWN.items():
        assert "could not" in refusal(lambda act=act: act(api), MosaicNotFoundError).lower(), name  # type: ignore[misc]
    wrong = replace(create_agent(), body={"nodes": []})
    assert "unknown field" in refusal(lambda: api.send(wrong), MosaicValidationError)
    mosaic_emulator.configure(hold_runs=True)
    run_id = api.run_agent(GENERATING)
    assert "running" in refusal(lambda: api.resume_run(run_id), MosaicConflictError)
    mosaic_emulator.configure(scopes=["agents:read"])
    assert "agent_runs:write" in refusal(lambda: api.cancel_run(run_id), MosaicPermissionError)


@pytest.mark.parametrize(("switch", "value"), REFUSING_SWITCHES)
def test_every_way_to_refuse_is_its_own_exception(
    mosaic_emulator: Emulator, api: EndpointMethods, switch: str, value: Any
) -> None:
    use = WRONG_USE[switch]
    mosaic_emulator.configure(**{switch: value, **use.beside})
    status = use.words.get(value, value)
    if status == 200:
        use.act(api, mosaic_emulator)
    else:
        refusal(lambda: use.act(api, mosaic_emulator), BY_STATUS[status])


def test_every_switch_of_a_refusal_is_used_wrongly() -> None:
    assert set(WRONG_USE) == set(OF_REFUSALS) - set(ERROR_SHAPES[0])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wrong_key_is_told_at_every_method(mosaic_emulator: Emulator, transport: str) -> None:
    access = Access(api_key="mk_wrong", base_url=mosaic_emulator.url)
    with closing(TRANSPORTS[transport](access)) as endpoints:
        for act in (*UNKNOWN.values(), lambda api: api.whoami()):
            message = refusal(lambda act=act: act(endpoints), MosaicAuthenticationError)  # type: ignore[misc]
            assert "mk_wrong" not in message


# What a restricted key is told


def test_a_restricted_key_is_told_what_it_may_lack(mosaic_emulator: Emulator, api: EndpointMethods) -> None:
    mosaic_emulator.configure(scopes=["agents:read"])
    assert len(list(api.list_agents())) == 5
    for act, words in (
        (lambda: list(api.list_pipeline_runs()), "(this needs agent_runs:read)"),
        (lambda: list(api.list_storage_triggers()), "(this needs triggers:read)"),
        (lambda: api.run_agent(GENERATING), "(by the pattern of the documented names this needs agent_runs:write)"),
        (lambda: api.create_agent(), "(by the pattern of the documented names this needs agents:write)"),
        (lambda: list(api.list_posts()), "(this needs Read on social publishing, whose scope has no documented name)"),
        (lambda: api.start_upload("video"), "(this needs Write on uploads, whose scope has no documented name)"),
    ):
        assert words in refusal(act, MosaicPermissionError)  # type: ignore[arg-type]
    assert mosaic_emulator.counts().runs_started == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "as Emulated Films, with all scopes."),
        ({"scopes": []}, "as Emulated Films, with scopes (none)."),
        ({"scopes": ["agents:read", "triggers:read"]}, "as Emulated Films, with scopes agents:read, triggers:read."),
        ({"whoami": "user"}, "as someone@example.org, with all scopes."),
        ({"optional_fields": "absent"}, "as Emulated Films, with all scopes."),
        ({"optional_fields": "null", "extra_fields": True}, "as Emulated Films, with all scopes."),
    ],
    ids=str,
)
def test_testing_a_connection_shows_owner_and_scopes_whichever_way_they_come(
    mosaic_emulator: Emulator, mosaic_connection: str, settings: dict[str, Any], words: str
) -> None:
    mosaic_emulator.configure(**settings)
    good, message = MosaicHook(mosaic_connection).test_connection()
    assert good
    assert message == f"Connected to {mosaic_emulator.url} {words}"
