from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.models import Model
from airflow_provider_mosaic.api.paging import Page
from airflow_provider_mosaic.api.responses import Response

from .every_sample import SAMPLES, endpoint_functions
from .odd_responses import at, places
from .samples import Sample


def read(sample: Sample, body: Any, status: int = 200) -> Any:
    return sample.call.result(Response(status, {}, json.dumps(body).encode()))


def test_every_endpoint_has_a_sample() -> None:
    assert {name.partition(":")[0] for name in SAMPLES} == {name for name, _ in endpoint_functions()}


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("name", SAMPLES)
def test_documented_response_is_read(name: str, status: int) -> None:
    result = read(SAMPLES[name], SAMPLES[name].answer, status)
    assert (result is None) == name.startswith(("delete_", "remove_"))


@pytest.mark.parametrize("name", SAMPLES)
def test_new_fields_are_accepted(name: str) -> None:
    sample = SAMPLES[name]

    def with_more(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{key: with_more(inner) for key, inner in value.items()}, "brand_new": {"a": [1, None]}}
        return [with_more(inner) for inner in value] if isinstance(value, list) else value

    more = read(sample, with_more(sample.answer))
    plain = read(sample, sample.answer)
    assert type(more) is type(plain)
    if isinstance(more, Model):
        assert (
            more.model_extra is None
            or "brand_new" in more.model_extra
            or name.startswith(("start_upload", "get_node_type"))
        )


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, sample in SAMPLES.items() for field in sample.needed]
)
@pytest.mark.parametrize("how", ["missing", "null"])
def test_missing_required_field_is_named(name: str, field: str, how: str) -> None:
    sample = SAMPLES[name]
    answer = copy.deepcopy(sample.answer)
    *way, last = (int(part) if part.isdigit() else part for part in field.split("."))
    parent = at(answer, tuple(way))
    if how == "missing":
        del parent[last]
    else:
        parent[last] = None
        # Only a missing avatar profile would be created again.
        if isinstance(at(sample.answer, (*way, last)), list) and name != "list_avatar_profiles":
            shown = read(sample, answer)
            assert (shown.items if isinstance(shown, Page) else shown) == ()
            assert not isinstance(shown, Page) or f"'{last}' is null" in shown.failure
            return
    with pytest.raises(MosaicResponseError, match=rf"'[\w.]*\b{last}'") as caught:
        read(sample, answer)
    assert caught.value.effect_unknown
    assert caught.value.path == sample.call.path


@pytest.mark.parametrize("name", SAMPLES)
def test_optional_fields_may_be_missing_or_null(name: str) -> None:
    sample = SAMPLES[name]
    needed = {tuple(int(part) if part.isdigit() else part for part in field.split(".")) for field in sample.needed}
    for place in places(sample.answer):
        if not place or isinstance(place[-1], int) or any(part[: len(place)] == place for part in needed):
            continue
        if isinstance(at(sample.answer, place), list) and sample.nameless:
            continue
        for how in ("missing", "null"):
            answer = copy.deepcopy(sample.answer)
            if how == "missing":
                del at(answer, place[:-1])[place[-1]]
            else:
                at(answer, place[:-1])[place[-1]] = None
            read(sample, answer)


def shows_ids(name: str) -> bool:
    """Return whether the result has ids other than the one in the request."""
    result = repr(read(SAMPLES[name], SAMPLES[name].answer))
    return name == "start_run" or ("id=" in result and name not in ("get_social_connection", "get_avatar_profile"))


@pytest.mark.parametrize("name", [name for name in SAMPLES if shows_ids(name)])
def test_ids_may_be_numbers(name: str) -> None:
    sample = SAMPLES[name]

    def numbered(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {inner: numbered(what, inner) for inner, what in value.items()}
        if isinstance(value, list):
            return [numbered(inner, key) for inner in value]
        return 12345 if key == "id" or key.endswith("_id") else value

    assert "12345" in repr(read(sample, numbered(sample.answer)))


#: Responses without a value that have a meaning.
VALID = {("update_agent", b""), ("update_agent", b"  \n"), ("update_agent", b"null"), ("list_triggers", b"null")}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (name, body)
        for name, sample in SAMPLES.items()
        for body in (b"", b"  \n", b"null")
        if sample.needed and (name, body) not in VALID
    ],
)
def test_empty_body_is_an_error_if_a_field_is_required(name: str, body: bytes) -> None:
    with pytest.raises(MosaicResponseError, match="its body is empty") as caught:
        SAMPLES[name].call.result(Response(204, {}, body))
    assert caught.value.transient


@pytest.mark.parametrize("name", ["cancel_run", "resume_run", "finalize_upload:video", "update_agent"])
def test_empty_body_is_valid_if_nothing_is_required(name: str) -> None:
    SAMPLES[name].call.result(Response(204))
