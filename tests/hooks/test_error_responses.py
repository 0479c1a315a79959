"""Error responses: each raises its exception, in every shape, over both transports."""

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
from .shapes import ERROR_SETTINGS, values_of

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
DEFAULT = "a0000000-0000-4000-8000-000000000001"
GENERATING = "a0000000-0000-4000-8000-000000000004"
ACCOUNT = "c0000000-0000-4000-8000-000000000001"

#: Every method that takes an id, called with an unknown id.
UNKNOWN: dict[str, Callable[[EndpointMethods], Any]] = {
    "get_agent": lambda api: api.get_agent(UNKNOWN_ID),
    "get_agent_node": lambda api: api.get_agent_node(UNKNOWN_ID),
    "update_agent": lambda api: api.update_agent(UNKNOWN_ID, name="A name"),
    "delete_agent": lambda api: api.delete_agent(UNKNOWN_ID),
    "duplicate_agent": lambda api: api.duplicate_agent(UNKNOWN_ID),
    "get_node_type": lambda api: api.get_node_type(UNKNOWN_ID),
    "run_agent": lambda api: api.run_agent(UNKNOWN_ID),
    "get_run": lambda api: api.get_run(UNKNOWN_ID),
    "get_run_nodes": lambda api: api.get_run_nodes(UNKNOWN_ID),
    "cancel_run": lambda api: api.cancel_run(UNKNOWN_ID),
    "resume_run": lambda api: api.resume_run(UNKNOWN_ID),
    "list_runs": lambda api: list(api.list_runs(UNKNOWN_ID)),
    "list_trigger_runs": lambda api: list(api.list_trigger_runs(UNKNOWN_ID)),
    "get_run_progress": lambda api: api.get_run_progress(UNKNOWN_ID),
    "list_run_tasks": lambda api: list(api.list_run_tasks(UNKNOWN_ID)),
    "list_run_notifications": lambda api: list(api.list_run_notifications(UNKNOWN_ID)),
    "list_notification_configurations": lambda api: list(api.list_notification_configurations(UNKNOWN_ID)),
    "list_triggers": lambda api: api.list_triggers(UNKNOWN_ID),
    "add_youtube_channels": lambda api: api.add_youtube_channels(UNKNOWN_ID, "@demo"),
    "remove_youtube_channels": lambda api: api.remove_youtube_channels(UNKNOWN_ID, "@demo"),
    "list_watched_folders": lambda api: list(api.list_watched_folders(UNKNOWN_ID)),
    "list_storage_events": lambda api: list(api.list_storage_events(UNKNOWN_ID)),
    "list_batch_items": lambda api: list(api.list_batch_items(UNKNOWN_ID)),
    "finalize_upload": lambda api: api.finalize_upload("video", UNKNOWN_ID),
    "get_view_url": lambda api: api.get_view_url("video", UNKNOWN_ID),
    "get_avatar_profile": lambda api: api.get_avatar_profile(UNKNOWN_ID),
    "get_social_connection": lambda api: api.get_social_connection(UNKNOWN_ID),
    "delete_social_connection": lambda api: api.delete_social_connection(UNKNOWN_ID),
    "create_post": lambda api: api.create_post("Hello", social_connection_ids=UNKNOWN_ID),
    "get_post": lambda api: api.get_post(UNKNOWN_ID),
    "update_post": lambda api: api.update_post(UNKNOWN_ID, approve=True),
    "delete_post": lambda api: api.delete_post(UNKNOWN_ID),
    "get_post_analytics": lambda api: api.get_post_analytics(UNKNOWN_ID),
    "list_post_comments": lambda api: list(api.list_post_comments(UNKNOWN_ID)),
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
class WrongCall:
    """
    A wrong call that Mosaic may reject in several ways, or accept.

    :param call: The call.
    :param settings: Further settings of the emulator.
    :param statuses: The HTTP status by value of the setting. Default: the value is the status.
    """

    call: Callable[[EndpointMethods, Emulator], object]
    settings: dict[str, Any] = field(default_factory=dict)
    statuses: dict[Any, int] = field(default_factory=dict)


def _call_twice(create: Callable[[EndpointMethods], str], call: Callable[[EndpointMethods, str], object]) -> WrongCall:
    def create_and_call(api: EndpointMethods, mosaic: Emulator) -> None:
        created = create(api)
        call(api, created)
        call(api, created)

    return WrongCall(create_and_call)


def _cancel_ended_run(api: EndpointMethods, mosaic: Emulator) -> None:
    run_id = api.run_agent(GENERATING)
    mosaic.finish_run(run_id)
    assert api.cancel_run(run_id).tasks_cancelled == 0


def _post_tomorrow(api: EndpointMethods) -> str:
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


WRONG_CALLS: dict[str, WrongCall] = {
    "required_params": WrongCall(
        _generate_without_prompt, statuses={"update": 400, "start": 400, "run": 200, "ignore": 200}
    ),
    "unknown_operation_node_status": WrongCall(_operation(op="delete_node", agent_node_id=UNKNOWN_ID)),
    "unknown_node_types": WrongCall(
        _operation(op="create_node", node_type_id=UNKNOWN_ID), statuses={"accept": 200, "refuse": 404}
    ),
    "repeated_connection": WrongCall(
        _operation(op="create_connection", source_agent_node_id=_node(1), target_agent_node_id=_node(2)),
        statuses={"refuse": 400, "ignore": 200},
    ),
    "repeated_delete": _call_twice(
        lambda api: api.create_agent(name="Gone").agent_id, lambda api, made: api.delete_agent(made)
    ),
    "empty_agents": WrongCall(
        lambda api, mosaic: api.run_agent(api.create_agent(name="Empty").agent_id), statuses={"run": 200, "refuse": 400}
    ),
    "cancel_terminal_status": WrongCall(_cancel_ended_run, {"hold_runs": True}),
    "unknown_input_status": WrongCall(lambda api, mosaic: api.run_agent(DEFAULT, video_ids=UNKNOWN_ID)),
    "unknown_ignored_node_status": WrongCall(lambda api, mosaic: api.run_agent(GENERATING, ignore_nodes=[UNKNOWN_ID])),
    "mixed_shorthand": WrongCall(
        lambda api, mosaic: api.run_agent(DEFAULT, video_urls=mosaic.url, node_render_ids=UNKNOWN_ID),
        {"unknown_input_status": 404},
        {True: 404, False: 400},
    ),
    "unknown_channel_removal": WrongCall(lambda api, mosaic: api.remove_youtube_channels(DEFAULT, "@unknown")),
    "unknown_trigger_runs": WrongCall(lambda api, mosaic: list(api.list_trigger_runs(UNKNOWN_ID))),
    "platforms_allowed": WrongCall(
        lambda api, mosaic: api.create_post("Hello", platforms=["x"]), statuses={True: 200, False: 400}
    ),
    "unknown_workspace_status": WrongCall(
        lambda api, mosaic: api.create_post("Hello", social_connection_ids=ACCOUNT, workspace_id=UNKNOWN_ID)
    ),
    "past_schedule": WrongCall(
        lambda api, mosaic: api.update_post(_post_tomorrow(api), schedule_date="2020-01-01T00:00:00Z"),
        statuses={"publish": 200, "refuse": 400},
    ),
    "wrong_post_state_status": WrongCall(lambda api, mosaic: api.update_post(_post_tomorrow(api), approve=True)),
    "repeated_post_delete": _call_twice(_post_tomorrow, lambda api, made: api.delete_post(made)),
    "unpublished_status": WrongCall(lambda api, mosaic: api.get_post_analytics(_post_tomorrow(api))),
    "connection_limit_status": WrongCall(lambda api, mosaic: api.create_connect_link("tiktok"), {"max_connections": 1}),
    "out_of_range_status": WrongCall(
        lambda api, mosaic: api.send(
            replace(
                set_auto_topup(enabled=True),
                body={"auto_topup": {"enabled": True, "threshold": -1, "quantity": 1}},
            )
        )
    ),
    "same_plan_status": WrongCall(lambda api, mosaic: api.upgrade_plan("professional")),
}
SETTING_VALUES = [
    (name, value)
    for name in WRONG_CALLS
    for value in [Settings.model_fields[name].default, *values_of(Settings.model_fields[name])]
]


@pytest.fixture(params=TRANSPORTS)
def api(request: pytest.FixtureRequest, mosaic_emulator: Emulator) -> Iterator[EndpointMethods]:
    access = Access(api_key=mosaic_emulator.api_key, base_url=mosaic_emulator.url)
    with closing(TRANSPORTS[request.param](access)) as endpoints:
        yield endpoints


def get_error(call: Callable[[], Any], kind: type[MosaicError]) -> str:
    with pytest.raises(MosaicError) as error:
        call()
    assert type(error.value) is kind, error.value
    assert error.value.detail
    assert error.value.detail in str(error.value)
    assert not error.value.transient
    assert not error.value.effect_unknown
    return str(error.value)


@pytest.mark.parametrize("shape", ERROR_SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_errors_in_every_shape(mosaic_emulator: Emulator, api: EndpointMethods, shape: dict[str, Any]) -> None:
    mosaic_emulator.configure(**shape)
    for name, call in UNKNOWN.items():
        assert "could not" in get_error(lambda call=call: call(api), MosaicNotFoundError).lower(), name  # type: ignore[misc]
    wrong = replace(create_agent(), body={"nodes": []})
    assert "unknown field" in get_error(lambda: api.send(wrong), MosaicValidationError)
    mosaic_emulator.configure(hold_runs=True)
    run_id = api.run_agent(GENERATING)
    assert "running" in get_error(lambda: api.resume_run(run_id), MosaicConflictError)
    mosaic_emulator.configure(scopes=["agents:read"])
    assert "agent_runs:write" in get_error(lambda: api.cancel_run(run_id), MosaicPermissionError)


@pytest.mark.parametrize(("setting", "value"), SETTING_VALUES)
def test_every_status_of_a_rejected_call(
    mosaic_emulator: Emulator, api: EndpointMethods, setting: str, value: Any
) -> None:
    wrong_call = WRONG_CALLS[setting]
    mosaic_emulator.configure(**{setting: value, **wrong_call.settings})
    status = wrong_call.statuses.get(value, value)
    if status == 200:
        wrong_call.call(api, mosaic_emulator)
    else:
        get_error(lambda: wrong_call.call(api, mosaic_emulator), BY_STATUS[status])


def test_every_setting_of_error_responses_is_covered() -> None:
    assert set(WRONG_CALLS) == set(ERROR_SETTINGS) - set(ERROR_SHAPES[0])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_method_reports_a_wrong_key(mosaic_emulator: Emulator, transport: str) -> None:
    access = Access(api_key="mk_wrong", base_url=mosaic_emulator.url)
    with closing(TRANSPORTS[transport](access)) as endpoints:
        for call in (*UNKNOWN.values(), lambda api: api.whoami()):
            message = get_error(lambda call=call: call(endpoints), MosaicAuthenticationError)  # type: ignore[misc]
            assert "mk_wrong" not in message


# Restricted keys


def test_an_error_names_the_missing_scope(mosaic_emulator: Emulator, api: EndpointMethods) -> None:
    mosaic_emulator.configure(scopes=["agents:read"])
    assert len(list(api.list_agents())) == 5
    for call, text in (
        (lambda: list(api.list_pipeline_runs()), "(this needs agent_runs:read)"),
        (lambda: list(api.list_storage_triggers()), "(this needs triggers:read)"),
        (lambda: api.run_agent(GENERATING), "(by the pattern of the documented names this needs agent_runs:write)"),
        (lambda: api.create_agent(), "(by the pattern of the documented names this needs agents:write)"),
        (lambda: list(api.list_posts()), "(this needs Read on social publishing, whose scope has no documented name)"),
        (lambda: api.start_upload("video"), "(this needs Write on uploads, whose scope has no documented name)"),
    ):
        assert text in get_error(call, MosaicPermissionError)  # type: ignore[arg-type]
    assert mosaic_emulator.counts().runs_started == 0


@pytest.mark.parametrize(
    ("settings", "text"),
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
def test_test_connection_shows_owner_and_scopes(
    mosaic_emulator: Emulator, mosaic_connection: str, settings: dict[str, Any], text: str
) -> None:
    mosaic_emulator.configure(**settings)
    success, message = MosaicHook(mosaic_connection).test_connection()
    assert success
    assert message == f"Connected to {mosaic_emulator.url} {text}"
