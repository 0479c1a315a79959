"""
A retry recognizes its request by a fingerprint; these are recorded from a release.

The fingerprint is made of the request's body. If a later release builds another body from the same arguments, a retry
after the upgrade does not recognize the request.
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


def recorded_fingerprint(entry: dict[str, Any]) -> str:
    """Return the fingerprint that the operator records before it sends anything."""
    store = StateStore()
    kind = getattr(operators, entry["operator"])
    # The result of the request does not matter, nor whether the agent or run exists.
    with contextlib.suppress(Exception):
        TaskRunner(lambda: kind(task_id="task", **entry["arguments"]), store=store).execute()
    fingerprint = next(value["fingerprint"] for _, value in store.history if "fingerprint" in value)
    assert isinstance(fingerprint, str)
    return fingerprint


@pytest.mark.parametrize("entry", RECORDED)
def test_retry_after_an_upgrade_recognizes_its_request(mosaic: Emulator, entry: dict[str, Any]) -> None:
    assert recorded_fingerprint(entry) == entry["fingerprint"], (
        "These arguments no longer make the request that the release made. A retry that spans the upgrade of the "
        "provider would start a second run, or publish a second post. Leave defaults out of the body, or compare the "
        "two forms in durable/task_state.py; do not record the request again."
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
