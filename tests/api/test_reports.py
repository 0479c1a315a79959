"""The errors for runs and posts that failed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode
from airflow_provider_mosaic.api.errors import (
    MosaicNeedsCreditsError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.api.reports import node_lines, post_failure, run_failure


def run(status: str = "failed", **facts: Any) -> Run:
    return Run.model_validate({"run_id": "r", "agent_id": "a", "status": status, **facts})


def node(status: str = "failed", **facts: Any) -> RunNode:
    return RunNode.model_validate(
        {
            "agent_node_id": "clone",
            "original_node_id": "n1",
            "status": status,
            "node_type": {"node_type_name": "Captions"},
            **facts,
        }
    )


@pytest.mark.parametrize(
    ("facts", "kind", "words"),
    [
        ({"status": "failed"}, MosaicRunFailedError, "failed"),
        ({"status": "cancelled"}, MosaicRunCancelledError, "was cancelled"),
        ({"status": "partial_complete"}, MosaicRunPartialError, "can't be resumed"),
        ({"status": "failed", "needs_credits": True}, MosaicNeedsCreditsError, "Buy credits, then resume it"),
        ({"status": "cancelled", "needs_credits": True}, MosaicNeedsCreditsError, "short of credits"),
        ({"status": "partial_complete", "needs_credits": True}, MosaicRunPartialError, "can't be resumed"),
    ],
)
def test_the_error_depends_on_how_the_run_ended(
    facts: dict[str, Any], kind: type[MosaicRunFailedError], words: str
) -> None:
    failure = run_failure(run(**facts))
    assert (type(failure), failure.run_id) == (kind, "r")
    assert words in str(failure)
    assert str(failure).startswith("Run 'r' of agent 'a' ")
    assert "Nothing was rendered." in str(failure)


def test_rendered_outputs_are_listed() -> None:
    failure = run_failure(run(outputs=[{"id": "o1", "video_url": "https://s.example/v?sig=hush"}, {"id": "o2"}]))
    assert "2 output(s) were rendered and can be downloaded: o1, o2." in str(failure)
    assert "hush" not in str(failure)


def test_advice_replaces_the_default() -> None:
    assert "Fix the cause" not in str(run_failure(run(), advice="It is resumed now."))


def test_failed_nodes_are_listed_with_their_messages() -> None:
    failed = run(errors=[{"original_node_id": "n1", "messages": ["timed out", "timed out"]}, {"messages": ["odd"]}])
    nodes = [
        node(errors=["timed out", "again"]),
        node("completed", original_node_id="n2", node_type={"node_type_name": "Clips"}),
        node("blocked", original_node_id="n3", node_type={"node_type_name": "AI Music"}, needs_credits=True),
        node("cancelled", original_node_id=None, node_type=None),
    ]
    assert node_lines(failed, nodes) == (
        "Failed nodes:",
        "  Captions  n1  timed out; again",
        "  node      ?  odd",
        "Nodes that were cancelled or did not start:",
        "  AI Music  n3  short of credits",
        "  node      clone  cancelled",
    )
    assert node_lines(run(), []) == ()


def test_cancelled_nodes_are_listed_separately() -> None:
    failure = run_failure(run("cancelled"), [node("cancelled"), node("blocked", original_node_id="n2")])
    assert "Failed nodes" not in str(failure)
    assert "Nodes that were cancelled or did not start:\n  Captions  n1  cancelled" in str(failure)


def test_the_lines_of_a_failure() -> None:
    lines = run_failure(run(errors=[{"original_node_id": "n1", "messages": ["timed out"]}])).lines
    assert lines == (
        "Run 'r' of agent 'a' failed.",
        "Failed nodes:",
        "  node  n1  timed out",
        "Nothing was rendered.",
        "Fix the cause, then resume it or start a new run.",
    )


def test_messages_are_redacted_and_shortened() -> None:
    text = "\n".join(
        node_lines(run(errors=[{"original_node_id": "n", "messages": ["https://s.example/v?sig=hush " + "x" * 5000]}]))
    )
    assert "hush" not in text
    assert len(text) < 400


def test_an_unknown_status_is_a_failure() -> None:
    assert type(run_failure(run("exploded", status_message="boom."))) is MosaicRunFailedError


@pytest.mark.parametrize(
    ("facts", "words", "not_words"),
    [
        (
            {
                "status": "partial_failure",
                "destinations": [
                    {"platform": "youtube", "account_username": "north", "status": "posted"},
                    {
                        "platform": "x",
                        "account_username": "north",
                        "status": "error",
                        "message": "private https://s.example/?sig=hush.",
                    },
                ],
            },
            [
                "It was published on youtube (north).",
                "It failed on x (north): private",
                "Make a new post for the destinations that failed",
            ],
            ["hush"],
        ),
        (
            {"status": "failed", "destinations": [{"platform": "x"}]},
            ["Nothing was published.", "It failed on x."],
            ["It was published"],
        ),
        (
            {"status": "rejected", "destinations": [{"platform": "x"}]},
            ["refused in approval, or deleted"],
            ["It failed on"],
        ),
    ],
)
def test_a_failed_post_names_its_destinations(facts: dict[str, Any], words: list[str], not_words: list[str]) -> None:
    failure = post_failure(Post.model_validate({"post_id": "p", **facts}))
    assert failure.post_id == "p"
    assert str(failure).startswith(f"Post 'p' ended as {facts['status']}.")
    assert all(word in str(failure) for word in words), str(failure)
    assert not any(word in str(failure) for word in not_words), str(failure)
