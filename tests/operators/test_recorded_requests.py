"""
What a retry knows its request again by, as recorded from a release.

An upgrade may come between two tries. A request's fingerprint is made of the body that is sent: where a later release
builds another body from the same arguments, every retry under way then takes its order for a new one.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore, TaskRunner

from airflow_provider_mosaic import operators

RECORDED = [
    pytest.param(entry, id=f"{file.stem}-{number}-{entry['operator']}")
    for file in sorted((Path(__file__).parent / "recorded").glob("requests-*.json"))
    for number, entry in enumerate(json.loads(file.read_text()))
]


def noted(entry: dict[str, Any]) -> str:
    """The fingerprint that the operator notes before it sends anything."""
    store = StateStore()
    kind = getattr(operators, entry["operator"])
    # What becomes of the request does not matter, nor whether there is such an agent or run.
    with contextlib.suppress(Exception):
        TaskRunner(lambda: kind(task_id="task", **entry["arguments"]), store=store).execute()
    fingerprint = next(value["fingerprint"] for _, value in store.history if "fingerprint" in value)
    assert isinstance(fingerprint, str)
    return fingerprint


@pytest.mark.parametrize("entry", RECORDED)
def test_retry_after_an_upgrade_recognizes_its_request(mosaic: Emulator, entry: dict[str, Any]) -> None:
    assert noted(entry) == entry["fingerprint"], (
        "These arguments no longer make the request that the release made. Every retry that is under way while the "
        "provider is upgraded would begin anew: pay a second run, publish a second post. Leave out of the body what is "
        "a default, or compare the two forms in durable/task_state.py; do not record this anew."
    )


def test_every_creating_operator_is_recorded() -> None:
    recorded = {entry.values[0]["operator"] for entry in RECORDED}  # type: ignore[index]
    # The others have no memory, or one whose loss pays and publishes nothing: an upload is sent again, and a run that
    # goes on already can't be resumed.
    assert set(operators.__all__) - recorded == {
        "MosaicCancelRunOperator",
        "MosaicDownloadOutputsOperator",
        "MosaicPostAnalyticsOperator",
        "MosaicResumeRunOperator",
        "MosaicUploadOperator",
        "MosaicYouTubeTriggerOperator",
    }
