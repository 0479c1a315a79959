"""A 403 names the scope that a restricted key may lack, and how certain its name is."""

from __future__ import annotations

import json

import pytest
from mosaic_emulator.account.scopes import CONFIRMED, needed_scope

from airflow_provider_mosaic.api.errors import MosaicPermissionError
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.scopes import scope_words

from .every_sample import SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_403_names_the_scope(name: str) -> None:
    call = SAMPLES[name].call
    with pytest.raises(MosaicPermissionError) as caught:
        call.result(Response(403, {}, json.dumps({"detail": "Forbidden"}).encode()))
    message = str(caught.value)
    assert "Check the scopes of the API key" in message
    assert "{needs}" not in message
    # Any key may send whoami.
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
def test_scope_words(method: str, path: str, words: str) -> None:
    words_of_scope = scope_words(method, path)
    assert words in words_of_scope
    assert bool(words) == bool(words_of_scope)


def test_provider_and_emulator_agree_on_scopes() -> None:
    for sample in SAMPLES.values():
        method, path = sample.call.method, sample.call.path
        other, words_of_scope = needed_scope(method, path), scope_words(method, path)
        if other is None:
            assert words_of_scope == ""
        elif path in CONFIRMED:
            assert words_of_scope == f"this needs {other[0]}"
        elif other[0].partition(":")[0] in ("agents", "agent_runs", "triggers") and "node_type" not in path:
            assert words_of_scope.endswith(f"this needs {other[0]}"), path
        else:
            assert f"this needs {other[0].partition(':')[2].capitalize()} on " in words_of_scope, path
