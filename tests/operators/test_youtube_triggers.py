"""The channels of a trigger are set; if they match, nothing is sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import TaskRunner
from tasks.fixtures import AGENT, LATE_EFFECT_PAUSES, Clock, effects, sent
from tasks.other_mosaic import OtherMosaic, serving
from tasks.task_runs import LATE

from airflow_provider_mosaic.api.endpoints.triggers import YouTubeTrigger
from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError, MosaicValidationError
from airflow_provider_mosaic.durable import reads
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicYouTubeTriggerOperator

ADD = "POST /agent/{agent_id}/triggers/add_youtube_channels"
REMOVE = "POST /agent/{agent_id}/triggers/remove_youtube_channels"
READ = "GET /agent/{agent_id}/triggers"
A, B, C = (f"UC{letter * 22}" for letter in "abc")
LONG = {"duration": {"min_seconds": 600}}
HOOK = "https://hooks.example.org/youtube"
TOKEN = "s3cr3t-t0ken-0123456789"


def task_runner(channels: Any, **options: Any) -> TaskRunner:
    arguments = {"task_id": "channels", "agent_id": AGENT, "youtube_channels": channels, **options}
    return TaskRunner(lambda: MosaicYouTubeTriggerOperator(**arguments))


def channels_by_trigger(hook: MosaicHook) -> dict[str, set[str]]:
    """Return the channels of each trigger of the agent."""
    return {trigger.id: set(trigger.youtube_channels) for trigger in hook.list_triggers(AGENT)}


def change_count(mosaic: Emulator) -> int:
    return sent(mosaic, ADD) + sent(mosaic, REMOVE)


def assert_unchanged(mosaic: Emulator, task: TaskRunner, triggers: list[str]) -> None:
    before, reads = change_count(mosaic), sent(mosaic, READ)
    assert task.execute() == triggers
    assert change_count(mosaic) == before
    assert sent(mosaic, READ) == reads + 1


# Setting channels


@pytest.mark.parametrize("channels", [[A, B], f"['{A}', '{B}']", (A, B, A)], ids=["list", "rendered", "twice"])
@pytest.mark.parametrize("filter_options", [None, LONG, {"duration": {"min_seconds": 5, "max_seconds": 50}}])
def test_trigger_is_created_and_a_second_run_sends_nothing(
    mosaic: Emulator, hook: MosaicHook, channels: Any, filter_options: Any
) -> None:
    task = task_runner(channels, filter_options=filter_options)
    [trigger] = task.execute()
    assert channels_by_trigger(hook) == {trigger: {A, B}}
    assert (hook.list_triggers(AGENT)[0].filter_options or None) == filter_options
    assert effects(mosaic) == {"channels_added": 2}
    assert (sent(mosaic, ADD), sent(mosaic, REMOVE)) == (1, 0)
    assert_unchanged(mosaic, task, [trigger])


@pytest.mark.parametrize(("status", "body"), [(200, b""), (204, None)])
def test_empty_response_is_not_taken_for_no_triggers(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, status: int, body: Any
) -> None:
    class EmptyOnce(OtherMosaic):
        responses: ClassVar[list[tuple[int, Any]]] = [(status, body)]

        def answer(self, method: str, target: str) -> tuple[int, Any]:
            self.requests.append(method)
            triggers = [{"id": "t", "youtube_channels": [A], "filter_options": LONG}]
            return self.responses.pop() if self.responses else (200, triggers)

    with serving(EmptyOnce()) as other:
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        assert task_runner([A], filter_options=LONG).execute() == ["t"]
    assert other.requests == ["GET", "GET"]


def test_missing_channels_are_added_and_others_removed(mosaic: Emulator, hook: MosaicHook) -> None:
    [trigger] = task_runner([A, B]).execute()
    task = task_runner([B, C])
    assert task.execute() == [trigger]
    assert channels_by_trigger(hook) == {trigger: {B, C}}
    assert effects(mosaic) == {"channels_added": 3, "channels_removed": 1}
    assert_unchanged(mosaic, task, [trigger])


def test_channel_of_another_trigger_is_moved(mosaic: Emulator, hook: MosaicHook) -> None:
    [other] = task_runner([A, B]).execute()
    task = task_runner([B], filter_options=LONG)
    [trigger] = task.execute()
    assert channels_by_trigger(hook) == {other: {A}, trigger: {B}}
    assert sent(mosaic, REMOVE) == 0
    assert_unchanged(mosaic, task, [trigger])


def test_channel_that_another_trigger_has_too_is_not_removed(
    mosaic: Emulator, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_runner([A, B]).execute()
    read = MosaicHook.list_triggers
    other = YouTubeTrigger.model_validate({"id": "other", "youtube_channels": [B], "filter_options": LONG})
    monkeypatch.setattr(MosaicHook, "list_triggers", lambda hook, agent_id: (*read(hook, agent_id), other))
    with pytest.raises(MosaicError, match=f"in other triggers .*{B}.* Nothing was removed"):
        task_runner([A]).execute()
    assert sent(mosaic, REMOVE) == 0


def test_other_triggers_keep_their_channels_unless_exclusive(mosaic: Emulator, hook: MosaicHook) -> None:
    [other] = task_runner([A]).execute()
    [trigger] = task_runner([B], filter_options=LONG).execute()
    assert channels_by_trigger(hook) == {other: {A}, trigger: {B}}
    task = task_runner([B], filter_options=LONG, exclusive=True)
    assert task.execute() == [trigger]
    assert channels_by_trigger(hook) == {trigger: {B}}
    assert_unchanged(mosaic, task, [trigger])


@pytest.mark.parametrize(
    "same", [{}, None, {"duration": {}}, {"duration": None}, {"duration": {"min_seconds": None, "max_seconds": None}}]
)
def test_empty_filters_select_the_same_trigger(mosaic: Emulator, same: Any) -> None:
    triggers = task_runner([A]).execute()
    assert_unchanged(mosaic, task_runner([A], filter_options=same), triggers)


# The three values of callback_url


def callback(hook: MosaicHook) -> str | None:
    [trigger] = hook.list_triggers(AGENT)
    return trigger.callback_url


def test_callback_is_set_kept_and_removed(mosaic: Emulator, hook: MosaicHook) -> None:
    triggers = task_runner([A], callback_url=HOOK).execute()
    assert callback(hook) == HOOK
    assert_unchanged(mosaic, task_runner([A], callback_url=HOOK), triggers)
    assert_unchanged(mosaic, task_runner([A]), triggers)
    task_runner([A, B]).execute()
    assert callback(hook) == HOOK
    task_runner([A, B], callback_url=f"{HOOK}/2").execute()
    assert callback(hook) == f"{HOOK}/2"
    without_callback = task_runner([A, B], callback_url=None)
    without_callback.execute()
    assert callback(hook) is None
    assert_unchanged(mosaic, without_callback, triggers)
    # A changed callback changes no channel.
    assert effects(mosaic) == {"channels_added": 2}


def test_changed_filter_keeps_the_callback(
    mosaic: Emulator, hook: MosaicHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    task_runner([A, B], callback_url=f"{HOOK}/{TOKEN}").execute()
    task = task_runner([A, B, C], filter_options=LONG)
    triggers = task.execute()
    assert callback(hook) == f"{HOOK}/{TOKEN}"
    assert_unchanged(mosaic, task, triggers)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("channels", [[C, "UC" + "d" * 22], ["UC" + "d" * 22]], ids=["one moves", "none moves"])
def test_new_trigger_gets_no_callback_of_triggers_that_keep_their_channels(
    mosaic: Emulator, hook: MosaicHook, channels: list[str]
) -> None:
    task_runner([A, B], callback_url=HOOK).execute()
    task_runner([C], filter_options={"duration": {"max_seconds": 50}}).execute()
    [trigger] = task_runner(channels, filter_options=LONG).execute()
    assert {each.id: each.callback_url for each in hook.list_triggers(AGENT)}[trigger] is None


# URLs and handles


@pytest.mark.parametrize(
    "channel",
    ["@demo", "https://www.youtube.com/@demo", "https://www.youtube.com/@Demo/", f"https://youtube.com/channel/{A}"],
)
def test_urls_and_handles_are_recognized(mosaic: Emulator, channel: str) -> None:
    task = task_runner([channel, B])
    [trigger] = task.execute()
    assert_unchanged(mosaic, task, [trigger])


@pytest.mark.parametrize("details", ["pending", "missing"])
def test_unreported_handle_is_sent_again_and_changes_nothing(mosaic: Emulator, hook: MosaicHook, details: str) -> None:
    mosaic.configure(channel_details=details)
    task_runner([A]).execute()
    task = task_runner(["@demo", B])
    [trigger] = task.execute()
    channels = channels_by_trigger(hook)
    assert len(channels[trigger]) == 2
    assert A not in channels[trigger]
    assert task.execute() == [trigger]
    assert channels_by_trigger(hook) == channels
    assert effects(mosaic) == {"channels_added": 3, "channels_removed": 1}


def test_possible_channel_is_not_removed(mosaic: Emulator, hook: MosaicHook) -> None:
    task_runner(["@demo", A]).execute()
    channels = channels_by_trigger(hook)
    mosaic.configure(channel_details="missing", add_channels_response="status_ok")
    with pytest.raises(MosaicError, match=r"does not return the ids of these channels: @demo.*by their ids"):
        task_runner(["@demo"]).execute()
    assert channels_by_trigger(hook) == channels
    assert sent(mosaic, REMOVE) == 0


def test_new_channel_is_not_removed_for_an_outdated_response(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(channel_details="missing", add_channels_response="status_ok")
    [trigger] = task_runner(["@demo", A]).execute()
    assert len(channels_by_trigger(hook)[trigger]) == 2
    assert sent(mosaic, REMOVE) == 0


# Response shapes and errors


@pytest.mark.parametrize(
    "shape",
    [
        {"triggers_response": "object"},
        {"add_channels_response": "status_ok"},
        {"remove_channels_response": "status_ok"},
        {"remove_channels_response": "empty"},
        {"channel_details": "missing"},
        {"empty_filter_is_none": False},
    ],
    ids=str,
)
def test_every_response_shape_has_the_same_result(mosaic: Emulator, hook: MosaicHook, shape: dict[str, Any]) -> None:
    mosaic.configure(**shape)
    task_runner([A, B]).execute()
    task = task_runner([B, C], callback_url=HOOK)
    [trigger] = task.execute()
    assert channels_by_trigger(hook) == {trigger: {B, C}}
    assert_unchanged(mosaic, task, [trigger])


@pytest.mark.parametrize("request_name", [ADD, REMOVE])
@pytest.mark.parametrize("fault", ["response_lost", "truncated_json", "rate_limit"])
def test_change_with_a_lost_response_is_made_once(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, request_name: str, fault: str
) -> None:
    task_runner([A]).execute()
    mosaic.inject(fault, method="POST", path=request_name.partition(" ")[2])
    task = task_runner([B])
    [trigger] = task.execute()
    assert channels_by_trigger(hook) == {trigger: {B}}
    assert effects(mosaic) == {"channels_added": 2, "channels_removed": 1}
    assert_unchanged(mosaic, task, [trigger])


def test_change_that_does_not_show_is_retried(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_PAUSES", LATE_EFFECT_PAUSES)
    task_runner([A]).execute()
    # The removed channel comes back, as if another user added it.
    task_runner([A, B]).execute()
    removed = MosaicHook.remove_youtube_channels
    try:
        MosaicHook.remove_youtube_channels = lambda self, agent_id, channels: None  # type: ignore[method-assign]
        with pytest.raises(MosaicError, match="do not show the change") as failure:
            task_runner([A]).execute()
    finally:
        MosaicHook.remove_youtube_channels = removed  # type: ignore[method-assign]
    assert failure.value.transient
    assert sum(clock.pauses) == 15


def test_unknown_channel_fails_without_retries(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(unresolvable_channels=["@unknown"])
    task_runner([A]).execute()
    with pytest.raises(AirflowFailException, match="@unknown") as failure:
        task_runner(["@unknown"]).execute()
    assert type(failure.value.error) is MosaicValidationError
    assert list(channels_by_trigger(hook).values()) == [{A}]


def test_missing_agent_fails_without_retries(mosaic: Emulator) -> None:
    with pytest.raises(AirflowFailException) as failure:
        task_runner([A], agent_id="no-such-agent").execute()
    assert type(failure.value.error) is MosaicNotFoundError


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"filter_options": {"title": "News"}}, "title is unknown"),
        ({"filter_options": {"duration": 5}}, "must be an object"),
        ({"filter_options": {"duration": {"min": 5}}}, "must be an object with min_seconds"),
        ({"filter_options": {"duration": {"min_seconds": 1.5}}}, r"duration.min_seconds=1.5: it must be a whole"),
        ({"filter_options": {"duration": {"min_seconds": "60"}}}, "min_seconds='60': .*{{ ... . tojson }}"),
        ({"filter_options": {"duration": {"max_seconds": -1}}}, r"duration.max_seconds=-1"),
        ({"filter_options": {"duration": {"min_seconds": 9, "max_seconds": 1}}}, "more than max_seconds=1"),
        ({"callback_url": "http://example.org/hook"}, "use https"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_arguments_are_rejected_before_anything_is_sent(
    mosaic: Emulator, options: dict[str, Any], pattern: str
) -> None:
    with pytest.raises(AirflowFailException, match=pattern):
        task_runner([A], **options, **LATE).execute()
    assert mosaic.requests() == []


# A requested channel that other triggers have too


class SharedChannels(OtherMosaic):
    """
    A Mosaic with triggers that share a channel, as the editor may make them.

    :param others: The filters of the other triggers. Each of them has the channels A and C.
    :param moves: Whether an add moves a channel that the selected trigger has already.
    """

    def __init__(self, *others: dict[str, Any], channels: tuple[str, ...] = (A, B), moves: bool = False) -> None:
        super().__init__()
        self._moves = moves
        self.triggers: list[dict[str, Any]] = []
        self._make({}, channels, HOOK)
        for each in others:
            self._make(each, (A, C), None)

    def _make(self, filters: dict[str, Any], channels: tuple[str, ...], callback: str | None) -> dict[str, Any]:
        trigger = {
            "id": f"t{len(self.requests)}{len(self.triggers)}",
            "filter_options": filters,
            "youtube_channels": list(channels),
            "callback_url": callback,
        }
        self.triggers.append(trigger)
        return trigger

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        self.requests.append(f"{method} {target}")
        if method == "GET":
            return 200, self.triggers
        body = json.loads(self.body)
        own = next((each for each in self.triggers if each["filter_options"] == body.get("filter_options", {})), None)
        if "/add_" in target:
            own = own or self._make(body.get("filter_options", {}), (), None)
            own["callback_url"] = body.get("trigger_callback_url", own["callback_url"])
        for channel in body["youtube_channels"]:
            if "/add_" in target and own and channel in own["youtube_channels"] and not self._moves:
                continue
            for each in self.triggers:
                each["youtube_channels"] = [other for other in each["youtube_channels"] if other != channel]
            if "/add_" in target and own:
                own["youtube_channels"].append(channel)
        self.triggers = [each for each in self.triggers if each["youtube_channels"]]
        return 200, {"status": "ok"}

    def changes(self) -> list[str]:
        return [each.rpartition("/")[2].partition("_")[0] for each in self.requests if each.startswith("POST")]

    def shown(self) -> list[tuple[set[str], str | None]]:
        """Return the channels and the callback of each trigger."""
        return [(set(each["youtube_channels"]), each["callback_url"]) for each in self.triggers]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[SharedChannels], SharedChannels]]:
    with ExitStack() as stack:

        def start(shared: SharedChannels) -> SharedChannels:
            stack.enter_context(serving(shared))
            connection = {"conn_type": "mosaic", "host": shared.url, "password": "mk_other"}
            monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
            return shared

        yield start


Serve = Callable[[SharedChannels], SharedChannels]


@pytest.mark.parametrize(("moves", "changes"), [(True, ["add"]), (False, ["add", "remove", "add"])])
def test_shared_channel_is_moved(serve: Serve, moves: bool, changes: list[str]) -> None:
    shared = serve(SharedChannels(LONG, moves=moves))
    task = task_runner([A, B])
    assert task.execute() == ["t00"]
    assert shared.shown() == [({A, B}, HOOK), ({C}, None)]
    assert shared.changes() == changes
    task.execute()
    assert shared.changes() == changes


def test_shared_channel_leaves_the_other_triggers_with_exclusive(serve: Serve) -> None:
    shared = serve(SharedChannels(LONG, {"duration": "60-120"}, {"title": "News"}))
    task_runner([A, B], exclusive=True).execute()
    assert shared.shown() == [({A, B}, HOOK)]
    assert shared.changes() == ["add", "remove", "add", "remove"]


class ListsOtherCallbacks(SharedChannels):
    """
    A Mosaic that does not list callbacks as it has them.

    :param listed: The field as it is listed; empty if it is left out.
    """

    def __init__(self, listed: dict[str, str], **options: Any) -> None:
        super().__init__(LONG, **options)
        self._listed = listed

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        status, body = super().answer(method, target)
        if method == "GET":
            fields = [{name: value for name, value in each.items() if name != "callback_url"} for each in body]
            body = [{**each, **self._listed} for each in fields]
        return status, body


@pytest.mark.parametrize("listed", [{}, {"callback_url": f"{HOOK}/***"}, {"callback_url": f"{HOOK}/{TOKEN}/"}], ids=str)
def test_channels_are_removed_although_the_callback_is_not_listed_as_sent(
    serve: Serve, caplog: pytest.LogCaptureFixture, listed: dict[str, str]
) -> None:
    shared = serve(ListsOtherCallbacks(listed, channels=(B, "UC" + "d" * 22)))
    assert task_runner([B], callback_url=f"{HOOK}/{TOKEN}").execute() == ["t00"]
    assert shared.shown() == [({B}, f"{HOOK}/{TOKEN}"), ({A, C}, None)]
    assert f"triggers of agent '{AGENT}' do not show the requested callback_url" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "make", [lambda: SharedChannels(LONG, channels=(A,)), lambda: ListsOtherCallbacks({}, channels=(A,))]
)
def test_trigger_that_has_only_the_shared_channel_does_not_lose_its_callback(
    serve: Serve, make: Callable[[], SharedChannels]
) -> None:
    shared = serve(make())
    before = shared.shown()
    with pytest.raises(MosaicError, match="would lose its callback"):
        task_runner([A]).execute()
    assert shared.shown() == before
    task_runner([A], callback_url=HOOK).execute()
    assert shared.shown() == [({C}, None), ({A}, HOOK)]


@pytest.mark.parametrize(
    "make",
    [
        # One trigger has a callback, and the other has none.
        lambda: SharedChannels({"duration": {"max_seconds": 50}}),
        lambda: ListsOtherCallbacks({}),
        lambda: ListsOtherCallbacks({"callback_url": f"{HOOK}/***"}),
    ],
    ids=["differs", "absent", "masked"],
)
def test_changed_filter_fails_before_the_add_if_the_callback_is_not_known(
    serve: Serve, make: Callable[[], SharedChannels]
) -> None:
    shared = serve(make())
    longer = {"duration": {"min_seconds": 900}}
    with pytest.raises(MosaicError, match=r"Nothing was sent: .*Give callback_url"):
        task_runner([A, B, C], filter_options=longer).execute()
    assert shared.changes() == []
    task_runner([A, B, C], filter_options=longer, callback_url=HOOK).execute()
    assert shared.shown() == [({A, B, C}, HOOK)]


def test_kept_callback_is_masked_in_errors(serve: Serve) -> None:
    class Rejects(SharedChannels):
        def answer(self, method: str, target: str) -> tuple[int, Any]:
            if method == "POST":
                return 400, {"error": f"Rejected: {json.loads(self.body)['trigger_callback_url']}"}
            return super().answer(method, target)

    # Another test made the process mask TOKEN.
    token = TOKEN[::-1]
    shared = serve(Rejects())
    shared.triggers[0]["callback_url"] = f"{HOOK}/{token}"
    with pytest.raises(AirflowFailException, match=r"Rejected: https://hooks.example.org") as failure:
        task_runner([A, B], filter_options=LONG).execute()
    assert token not in str(failure.value)


class FailsFrom(SharedChannels):
    """
    A Mosaic that responds with an error to changes, until :attr:`is_fixed`.

    :param first: The first change that fails, counted from 0.
    :param has_effect: Whether the change is carried out nevertheless.
    """

    def __init__(self, first: int, status: int, *, has_effect: bool = False) -> None:
        super().__init__(LONG)
        self._first, self._status, self._has_effect = first, status, has_effect
        self.is_fixed = False

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        if method == "GET" or len(self.changes()) < self._first or self.is_fixed:
            return super().answer(method, target)
        if self._has_effect:
            super().answer(method, target)
        else:
            self.requests.append(f"{method} {target}")
        return self._status, {"error": "no"}


IN_NO_TRIGGER = f"These channels may be in no trigger now, so their new videos start no runs: {A}."


@pytest.mark.parametrize("status", [400, 403, 500])
def test_error_between_removing_and_adding_names_the_channels(serve: Serve, clock: Clock, status: int) -> None:
    shared = serve(FailsFrom(2, status))
    task = task_runner([A, B])
    with pytest.raises((MosaicError, AirflowFailException), match=IN_NO_TRIGGER):
        task.execute()
    assert shared.shown() == [({B}, HOOK), ({C}, None)]
    shared.is_fixed = True
    task.execute()
    assert shared.shown() == [({A, B}, HOOK), ({C}, None)]


def test_error_of_a_removal_with_an_unknown_effect_names_the_channels(serve: Serve, clock: Clock) -> None:
    shared = serve(FailsFrom(1, 500, has_effect=True))
    with pytest.raises(MosaicError, match=IN_NO_TRIGGER):
        task_runner([A, B]).execute()
    assert shared.shown() == [({B}, HOOK), ({C}, None)]


def test_error_of_a_rejected_removal_does_not_say_that_channels_are_in_no_trigger(serve: Serve) -> None:
    shared = serve(FailsFrom(1, 403))
    before = shared.shown()
    with pytest.raises(AirflowFailException) as failure:
        task_runner([A, B]).execute()
    assert "no trigger" not in str(failure.value)
    assert shared.shown() == before


# Channels that are listed by URL


DEMO = "https://www.youtube.com/@Demo"


class ListsUrls(SharedChannels):
    """A Mosaic that lists a channel by the URL of its handle."""

    def __init__(self, *others: dict[str, Any], **options: Any) -> None:
        super().__init__(*others, **options)
        #: The channels of each change.
        self.sent: list[list[str]] = []

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        if method == "POST":
            self.sent.append(json.loads(self.body)["youtube_channels"])
        self.body = self.body.replace(b'"@', b'"https://www.youtube.com/@')
        return super().answer(method, target)


@pytest.mark.parametrize("channel", ["@demo", DEMO, "https://youtube.com/@demo/videos"])
def test_channel_is_recognized_by_the_url_of_its_handle(serve: Serve, channel: str) -> None:
    shared = serve(ListsUrls(channels=(A,)))
    task = task_runner([channel, A])
    assert task.execute() == ["t00"]
    assert len(shared.triggers[0]["youtube_channels"]) == 2
    task.execute()
    assert shared.changes() == ["add"]
    # Another channel is removed as it is listed.
    task_runner([A]).execute()
    assert shared.shown() == [({A}, HOOK)]
    assert shared.changes() == ["add", "remove"]


@pytest.mark.parametrize("channel", ["@demo", A])
def test_listed_handle_and_its_id_are_the_same_channel(serve: Serve, channel: str) -> None:
    shared = serve(ListsUrls(channels=(DEMO, B)))
    shared.triggers[0]["youtube_channel_details"] = [{"channel_id": A, "channel_handle": "@demo"}]
    task_runner([channel, B]).execute()
    assert shared.changes() == []


@pytest.mark.parametrize("moves", [True, False])
def test_shared_channel_that_is_listed_by_url_is_moved(serve: Serve, moves: bool) -> None:
    shared = serve(ListsUrls(LONG, channels=(DEMO, B), moves=moves))
    shared.triggers[1]["youtube_channels"] = [DEMO, C]
    task_runner([DEMO, B]).execute()
    assert shared.shown() == [({DEMO, B}, HOOK), ({C}, None)]


def test_channel_is_added_again_as_mosaic_accepted_it_before(serve: Serve) -> None:
    shared = serve(ListsUrls(LONG, channels=(DEMO, B)))
    shared.triggers[1]["youtube_channels"] = [DEMO, C]
    task_runner(["@Demo", B]).execute()
    assert shared.sent == [["@Demo"], [DEMO], ["@Demo"]]


def test_extra_channel_that_another_trigger_lists_by_url_is_not_removed(serve: Serve) -> None:
    shared = serve(ListsUrls(LONG, channels=(DEMO, B)))
    shared.triggers[1]["youtube_channels"] = ["https://youtube.com/@demo"]
    with pytest.raises(MosaicError, match=r"in other triggers .*Nothing was removed"):
        task_runner([B]).execute()
    assert shared.changes() == []


@pytest.mark.parametrize(
    "other_filter",
    [{"duration": "60-120"}, {"duration": [60, 120]}, {"duration": {"min": 60}}, {"title": "News"}],
    ids=str,
)
@pytest.mark.parametrize("channels", [[A, B], [B, C]], ids=["shared", "only there"])
def test_channel_of_a_trigger_with_another_filter_is_not_moved(
    serve: Serve, other_filter: dict[str, Any], channels: list[str]
) -> None:
    shared = serve(SharedChannels(other_filter))
    with pytest.raises(MosaicError, match=r"with another filter than a duration: UC.*Nothing was removed"):
        task_runner(channels).execute()
    assert shared.changes() == []
    # Other channels are not affected.
    shared.triggers[0]["youtube_channels"] = [B]
    task_runner([B]).execute()
    assert shared.changes() == []


def test_listed_channel_that_is_no_url_fails_only_its_removal(serve: Serve) -> None:
    shared = serve(SharedChannels(LONG, channels=(B, "https://[x")))
    with pytest.raises(AirflowFailException, match=r"'https://\[x': it is not a URL"):
        task_runner([B]).execute()
    task_runner([A, C], filter_options=LONG).execute()
    assert shared.changes() == []
