"""The response to a start or a post is lost, and its list is not complete: nothing is sent a second time."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clients.hostile_endpoints import at_most
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import Clock
from tasks.other_mosaic import OtherMosaic, serving
from tasks.task_runs import fails_with

from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError
from airflow_provider_mosaic.durable import create_once
from airflow_provider_mosaic.operators import (
    MosaicCreateAvatarProfileOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
)

pytestmark = pytest.mark.hostile

#: The body of a page by its number, without the name of its items.
ENDLESS: dict[str, Callable[[int], dict[str, Any]]] = {
    "empty pages": lambda number: {"next_cursor": f"c{number}"},
    "a circle": lambda number: {"next_cursor": f"c{number % 3}"},
    "one and the same page": lambda number: {"next_cursor": "again"},
}
#: Bodies of a page by the name of its items.
PARTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "null": lambda name: {name: None},
    "errors": lambda name: {name: [], "errors": ["shard down"]},
}


class EndlessMosaic(OtherMosaic):
    """A Mosaic with empty lists that never end after a request with effects."""

    def __init__(self, page: Callable[[int], dict[str, Any]]) -> None:
        super().__init__()
        self._page = page
        self._numbers = itertools.count()
        self.sent: list[str] = []

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        path = target.partition("?")[0]
        if method == "POST":
            self.sent.append(path)
            return 0, None
        listed = re.fullmatch(r"/agent/[^/]+/(runs)|/social/(posts)|/avatar-profiles", path)
        assert listed, target
        name = listed[1] or listed[2] or "avatar_profiles"
        items: dict[str, Any] = {name: []}
        return 200, items | (self._page(next(self._numbers)) if self.sent else {})


@pytest.fixture(params=ENDLESS.values(), ids=ENDLESS)
def endless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndlessMosaic]:
    with serving(EndlessMosaic(request.param)) as endless:
        connection = {"conn_type": "mosaic", "host": endless.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        yield endless  # type: ignore[misc]


def test_lost_start_is_not_sent_again_when_the_list_does_not_end(endless: EndlessMosaic, clock: Clock) -> None:
    task = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id="an-agent", video_ids=["v"]), store=StateStore()
    )
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert "The lists could not be read" in message
    assert endless.sent == ["/agent/an-agent/run"]


def test_lost_post_is_not_sent_again_when_the_list_does_not_end(endless: EndlessMosaic, clock: Clock) -> None:
    task = TaskRunner(
        lambda: MosaicSocialPostOperator(task_id="post", text="Hello", platforms=["x"]), store=StateStore()
    )
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert "The lists could not be read" in message
    assert endless.sent == ["/social/post"]


def test_lost_avatar_profile_is_not_sent_again_when_the_list_has_another_page(
    endless: EndlessMosaic, clock: Clock
) -> None:
    task = TaskRunner(
        lambda: MosaicCreateAvatarProfileOperator(task_id="avatar", name="Host", video_url="https://a.example/v.mp4"),
        store=StateStore(),
    )
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert "The lists could not be read" in message
    assert endless.sent == ["/avatar-profiles/create"]


class LargePostsMosaic(OtherMosaic):
    """A Mosaic with 40 posts of 1 MiB, one a page, that loses the responses to posts."""

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        if method == "POST":
            self.requests.append(method)
            return 0, None
        number = int(target.partition("cursor=")[2] or 0)
        post = {"post_id": f"{len(self.requests)}-{number}", "description": "Hello " * (2**20 // 6)}
        return 200, {"posts": [post], "next_cursor": str(number + 1) if number < 39 else None}


def test_search_for_a_lost_post_among_large_posts_uses_little_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create_once, "PAUSES", (1.0,))
    monkeypatch.setattr(create_once, "OWNER_GRACE_DELAYS", ())
    with serving(LargePostsMosaic()) as mosaic:
        connection = {"conn_type": "mosaic", "host": mosaic.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        task = TaskRunner(
            lambda: MosaicSocialPostOperator(task_id="post", text="Hello " * 100, platforms=["x"]), store=StateStore()
        )
        with at_most(30 * 2**20):
            message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert "1-39 (unknown, but it differs)" in message or "1-0 (unknown, but it differs)" in message
    assert mosaic.requests == ["POST"]


class PartlyDownMosaic(OtherMosaic):
    """A Mosaic whose lists report a failure after a request with effects."""

    def __init__(self, part: Callable[[str], dict[str, Any]]) -> None:
        super().__init__()
        self._part = part
        self.sent: list[str] = []

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        path = target.partition("?")[0]
        if method == "POST":
            self.sent.append(path)
            return 0, None
        name = {"runs": "runs", "posts": "posts", "avatar-profiles": "avatar_profiles"}[path.rpartition("/")[2]]
        return 200, self._part(name) if self.sent else {name: []}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(
    ("operator", "arguments", "path"),
    [
        (MosaicRunAgentOperator, {"agent_id": "an-agent", "video_ids": ["v"]}, "/agent/an-agent/run"),
        (MosaicSocialPostOperator, {"text": "Hello", "platforms": ["x"]}, "/social/post"),
        (
            MosaicCreateAvatarProfileOperator,
            {"name": "Host", "video_url": "https://a.example/v.mp4"},
            "/avatar-profiles/create",
        ),
    ],
    ids=["run", "post", "avatar profile"],
)
def test_lost_request_is_not_sent_again_when_the_list_reports_a_failure(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    part: Callable[[str], dict[str, Any]],
    operator: Any,
    arguments: dict[str, Any],
    path: str,
) -> None:
    with serving(PartlyDownMosaic(part)) as mosaic:
        connection = {"conn_type": "mosaic", "host": mosaic.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        task = TaskRunner(lambda: operator(task_id="task", **arguments), store=StateStore())
        message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
        assert "The lists could not be read" in message
        assert mosaic.sent == [path]  # type: ignore[attr-defined]
