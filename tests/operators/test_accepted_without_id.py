"""A start or a post gets a status of success and no id that can be read: it is searched, and never sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import Clock
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError
from airflow_provider_mosaic.operators import (
    MosaicCreateAvatarProfileOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
)


class AcceptingMosaic(OtherMosaic):
    """A Mosaic that carries out a POST and responds without an id. Its lists lag for longer than any search."""

    def __init__(self) -> None:
        super().__init__()
        self.response: tuple[int, Any] = (202, None)
        self.done: list[str] = []
        #: Runs that are listed after a start.
        self.listed: tuple[str, ...] = ()

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        path = urlsplit(target).path
        if method == "POST":
            self.done.append(path)
            return self.response
        if path.startswith("/agent_run/"):
            return 200, {"status": "completed", "outputs": [{"id": "o", "video_url": "https://cdn.example/a.mp4"}]}
        if path.endswith("/runs") and self.done:
            return 200, {"runs": [{"run_id": run_id, "status": "running"} for run_id in self.listed]}
        lists = {"/social/posts": "posts", "/avatar-profiles": "avatar_profiles"}
        return 200, {lists.get(path, "runs"): []}


@pytest.fixture
def accepting(monkeypatch: pytest.MonkeyPatch) -> Iterator[AcceptingMosaic]:
    with serving(AcceptingMosaic()) as other:
        assert isinstance(other, AcceptingMosaic)
        connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        yield other


def run() -> Any:
    return MosaicRunAgentOperator(task_id="task", agent_id="an-agent")


def post() -> Any:
    return MosaicSocialPostOperator(task_id="task", text="Premiere", platforms=["x"])


def avatar() -> Any:
    return MosaicCreateAvatarProfileOperator(task_id="task", name="Host A", video_id="v-1")


@pytest.mark.parametrize("make", [run, post, avatar])
@pytest.mark.parametrize(
    "response",
    [(202, None), (200, {"message": "Queued"}), (201, ["new-1"]), (303, None), (200, {"run": {"url": "https://x/y"}})],
    ids=["202", "message", "list", "303", "link"],
)
def test_accepted_request_is_not_sent_again(
    accepting: AcceptingMosaic, clock: Clock, make: Any, response: tuple[int, Any]
) -> None:
    accepting.response = response
    with pytest.raises(AirflowFailException, match=r"Variable") as failure:
        TaskRunner(make, store=StateStore()).execute()
    assert type(failure.value.error) is MosaicAmbiguousOutcomeError
    assert len(accepting.done) == 1
    assert clock.elapsed >= 119


@pytest.mark.parametrize("make", [run, post])
@pytest.mark.parametrize("body", [{"id": "new-1"}, {"data": {"id": "new-1"}}, {"newItem": {"itemId": "new-1"}}])
def test_id_in_another_field_is_named(
    accepting: AcceptingMosaic, clock: Clock, make: Any, body: dict[str, Any]
) -> None:
    accepting.response = 200, body
    with pytest.raises(AirflowFailException, match=r"Variable.*new-1") as failure:
        TaskRunner(make, store=StateStore()).execute()
    assert failure.value.error.candidates == ("new-1",)
    assert len(accepting.done) == 1


def test_id_beside_a_byte_that_is_not_utf_8_is_read(accepting: AcceptingMosaic) -> None:
    accepting.response = 200, '{"run_id": "new-1", "message": "démarré"}'.encode("latin-1")
    task = TaskRunner(lambda: MosaicRunAgentOperator(task_id="t", agent_id="a", wait_for_completion=False))
    assert task.execute() == "new-1"


def test_run_of_another_client_is_not_adopted_for_a_named_id(accepting: AcceptingMosaic, clock: Clock) -> None:
    accepting.response, accepting.listed = (200, {"id": "new-1"}), ("of-another-client",)
    with pytest.raises(AirflowFailException, match=r"Variable.*new-1"):
        TaskRunner(run, store=StateStore()).execute()


@pytest.mark.parametrize("response", [(200, {"id": "new-1"}), (500, {"run_id": "new-1"})], ids=["200", "500"])
def test_named_id_is_adopted_once_it_is_listed(
    accepting: AcceptingMosaic, clock: Clock, response: tuple[int, Any]
) -> None:
    accepting.response, accepting.listed = response, ("of-another-client", "new-1")
    assert TaskRunner(run, store=StateStore()).run_to_end() == "new-1"
    assert accepting.done == ["/agent/an-agent/run"]


def test_post_of_an_error_with_a_result_is_not_sent_again(accepting: AcceptingMosaic, clock: Clock) -> None:
    results = [{"platform": "x", "post_url": "https://x.com/1"}, {"platform": "linkedin", "status": "failed"}]
    accepting.response = 400, {"detail": "1 of 2 destinations failed", "results": results}
    with pytest.raises(AirflowFailException, match=r"Variable") as failure:
        TaskRunner(post, store=StateStore()).execute()
    assert type(failure.value.error) is MosaicAmbiguousOutcomeError
    assert len(accepting.done) == 1
