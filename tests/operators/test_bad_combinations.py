"""Wrong nested values and wrong combinations are named, and nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, nothing_was_done
from tasks.task_runs import LATE

from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicSocialPostOperator

NODE = "b0000004-0000-4000-8000-000000000002"

INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"video_ids": [""]}, r"video_ids\[0\]=''"),
    ({"video_ids": ["a", 5]}, r"video_ids\[1\]=5"),
    ({"video_ids": "[]"}, "video_ids=\\[\\]: it is empty"),
    ({"mimir_assets": [{}]}, r"mimir_assets\[0\].id=None"),
    ({"video_inputs": [{"video_ids": ["v"]}]}, r"video_inputs\[0\].*no agent_node_id"),
    ({"video_inputs": [{"agent_node_id": NODE}]}, r"video_inputs\[0\].*no source"),
    ({"video_inputs": [{"agent_node_id": NODE, "video_ids": [5]}]}, r"video_inputs\[0\].video_ids\[0\]=5"),
    ({"video_inputs": [{"agent_node_id": NODE, "video_ids": ["v"]}], "video_ids": ["v"]}, "it excludes video_ids"),
    *[
        ({"video_inputs": [{"agent_node_id": NODE, "video_ids": ["v"], "input_clip_start_ms": bound}]}, pattern)
        for bound, pattern in [
            ("1000", r"input_clip_start_ms='1000': it must be a whole number.*\{\{ \.\.\. \| tojson }}"),
            (1.5, "input_clip_start_ms=1.5"),
            (True, "input_clip_start_ms=True"),
            (-1, "input_clip_start_ms=-1"),
        ]
    ],
    (
        {
            "video_inputs": [
                {
                    "agent_node_id": NODE,
                    "video_ids": ["v"],
                    "input_clip_start_ms": 2000,
                    "input_clip_end_ms": 1000,
                }
            ]
        },
        "ends before it starts",
    ),
]


@pytest.mark.parametrize(("arguments", "pattern"), INPUTS, ids=lambda value: str(value)[:60])
def test_wrong_input_of_a_run_is_named_with_its_path(mosaic: Emulator, arguments: dict[str, Any], pattern: str) -> None:
    run = TaskRunner(
        lambda: MosaicRunAgentOperator(task_id="run", agent_id=AGENT, **LATE, **arguments), store=StateStore()
    )
    with pytest.raises(AirflowFailException, match=pattern):
        run.execute()
    assert nothing_was_done(mosaic)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"text": "Hello"}, "no destination"),
        ({"text": "Hello", "social_connection_ids": [ACCOUNT], "platforms": ["x"]}, "not both"),
        ({"text": " ", "platforms": ["x"]}, "neither text nor media"),
        ({"text": "Hello", "platforms": [5]}, r"platforms\[0\]=5"),
        ({"text": "Hello", "platforms": []}, "platforms=\\[\\]"),
        ({"text": "Hello", "platforms": ["x"], "run_id": "r", "media_urls": ["https://a/b"]}, "give it or run_id"),
        ({"text": "Hello", "platforms": ["x"], "run_id": "r", "output_ids": [""]}, r"output_ids\[0\]=''"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_combinations_for_a_post_are_rejected(mosaic: Emulator, arguments: dict[str, Any], pattern: str) -> None:
    with pytest.raises(AirflowFailException, match=pattern):
        TaskRunner(lambda: MosaicSocialPostOperator(task_id="post", **LATE, **arguments), store=StateStore()).execute()
    assert nothing_was_done(mosaic)
