"""A restricted key's 403 names what it may lack, and says how sure that is."""

from __future__ import annotations

import json

import pytest
from mosaic_emulator.access import CONFIRMED, needed_scope

from airflow_provider_mosaic.api.errors import MosaicPermissionError
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.scopes import scope_words

from .every_sample import SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_a_403_names_what_the_key_may_lack(name: str) -> None:
    call = SAMPLES[name].call
    with pytest.raises(MosaicPermissionError) as caught:
        call.result(Response(403, {}, json.dumps({"detail": "Forbidden"}).encode()))
    message = str(caught.value)
    assert "Check the scopes of the API key" in message
    assert "{needs}" not in message
    # Any key may ask whose it is.
    assert ("this needs" in message) == (name != "whoami")


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/pipeline_runs", "this needs agent_runs:read"),
        ("GET", "/storage_batches", "this needs triggers:read"),
        ("GET", "/agents", "by the pattern of the documented names this needs agents:read"),
        ("POST", "/agent/{agent_id}/run", "by the pattern of the documented names this needs agent_runs:write"),
        ("GET", "/agent/{agent_id}/runs", "by the pattern of the documented names this needs agent_runs:read"),
        ("POST", "/agent/{agent_id}/triggers/add_youtube_channels", "this needs triggers:write"),
        ("POST", "/uploads/get_view_url", "this needs Read on uploads, whose scope has no documented name"),
        ("DELETE", "/social/post/{post_id}", "this needs Write on social publishing"),
        ("GET", "/whoami", ""),
        ("GET", "/something/new", ""),
    ],
)
def test_what_is_only_likely_is_said_to_be(method: str, path: str, words: str) -> None:
    said = scope_words(method, path)
    assert words in said
    assert bool(words) == bool(said)


def test_both_readings_of_the_page_agree() -> None:
    for sample in SAMPLES.values():
        method, path = sample.call.method, sample.call.path
        other, said = needed_scope(method, path), scope_words(method, path)
        if other is None:
            assert said == ""
        elif path in CONFIRMED:
            assert said == f"this needs {other[0]}"
        elif other[0].partition(":")[0] in ("agents", "agent_runs", "triggers") and "node_type" not in path:
            assert said.endswith(f"this needs {other[0]}"), path
        else:
            assert f"this needs {other[0].partition(':')[2].capitalize()} on " in said, path
