"""
Any change to a documented response gives a model, or an error that names the field, and no other exception.

The number of tested responses is printed at the end of the run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from random import Random
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import MosaicError, MosaicResponseError
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.webhooks import read_event

from .every_sample import SAMPLES
from .odd_responses import changed, fields_of, odd_value
from .samples import Sample
from .samples_of_other_forms import EVENTS, OTHER_FORMS

CASES = 400
COUNTED = "documented answers with fields dropped, nulled, added or odd: each a model, or an error that names the field"

#: Every documented response, in every version.
FORMS = {
    **{name: (name, sample.answer) for name, sample in SAMPLES.items()},
    **{f"{name}/{i}": (name, form) for name, forms in OTHER_FORMS.items() for i, form in enumerate(forms, 1)},
}
#: Errors about a whole response, which name no field.
WHOLE_RESPONSE = re.compile(r"its body is (empty|false)|but it is a \w+ where|'the body' is wrong|it has \d lists")


def names_a_field(message: str, fields: set[str]) -> bool:
    """Return whether an error names a field, as ``'outputs.0.video_url'`` or by its last part."""
    places = re.findall(r"'([^']+)' (?:is|are)\b", message)
    return any(part in fields for place in places for part in place.split("."))


@pytest.mark.parametrize("form", [form for form in FORMS if "/" in form])
def test_responses_of_other_versions_are_read(form: str) -> None:
    name, answer = FORMS[form]
    result = SAMPLES[name].call.result(Response(200, {}, json.dumps(answer).encode()))
    assert (result is None) == name.startswith(("delete_", "remove_"))


@pytest.mark.parametrize("form", FORMS)
def test_odd_response_is_read_or_its_field_is_named(evidence: Counter[str], form: str) -> None:
    name, documented = FORMS[form]
    for seed in range(CASES):
        read_or_name_the_field(SAMPLES[name], documented, changed(Random(f"{form} {seed}"), documented))
        evidence[COUNTED] += 1


def read_or_name_the_field(sample: Sample, documented: Any, answer: Any) -> None:
    try:
        result = sample.call.result(Response(200, {}, json.dumps(answer).encode()))
    except MosaicResponseError as error:
        message = str(error)
        assert f"{sample.call.method} {sample.call.path} returned 200" in message
        known = fields_of(documented) | fields_of(answer) | fields_of(sample.answer)
        assert WHOLE_RESPONSE.search(message) or names_a_field(message, known), message
        assert "hush" not in message
    except MosaicError as refusal:
        # The changed response may refuse the request.
        message = str(refusal)
        refusing = {"success", "status", "error", "errors"}
        assert WHOLE_RESPONSE.search(message) or names_a_field(message, refusing), message
    else:
        assert "hush" not in repr(result)


@pytest.mark.parametrize("flag", EVENTS)
def test_documented_webhooks_are_read_completely(flag: str) -> None:
    event = read_event(json.dumps({**EVENTS[flag], "brand_new": 1}))
    assert event.flag == flag
    assert set(EVENTS[flag]) - {"user_id", "test_data"} <= set(type(event).model_fields)
    assert (event.model_extra or {})["brand_new"] == 1
    assert (event.timestamp is not None) == (flag == "TEST")
    assert [node.errors for node in event.updated_nodes] == ([("Too dark",)] if flag == "RUN_PROGRESS" else [])


def test_unknown_webhook_flag_is_kept() -> None:
    assert read_event('{"flag": "OUTPUTS_FINISHED", "output": []}').flag == "OUTPUTS_FINISHED"


@pytest.mark.parametrize("flag", EVENTS)
def test_odd_webhook_is_read_or_its_field_is_named(evidence: Counter[str], flag: str) -> None:
    for seed in range(CASES):
        body = changed(Random(f"{flag} {seed}"), EVENTS[flag])
        evidence[COUNTED] += 1
        try:
            event = read_event(json.dumps(body))
        except MosaicResponseError as error:
            message = str(error)
            assert re.search(r"'flag'|'the body'|not JSON", message) or names_a_field(message, fields_of(body)), message
        else:
            assert isinstance(event.flag, str)
            assert "hush" not in repr(event)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 418, 422, 429, 500, 502, 503])
def test_odd_error_body_gives_the_error_of_its_status(evidence: Counter[str], status: int) -> None:
    details = (
        "Agent could not be found",
        [{"loc": ["body", "video_ids", 0], "msg": "not a string", "type": "string_type"}],
        {"message": "Agent could not be found", "code": "not_found"},
    )
    for seed in range(CASES):
        random = Random(f"{status} {seed}")
        documented = {"detail": random.choice(details), "error": "request_error"}
        body = changed(random, documented) if random.random() < 0.5 else odd_value(random)
        sample = SAMPLES[random.choice(["start_run", "get_run", "create_post", "get_credits"])]
        evidence["refusals with an odd detail: each the error of its status"] += 1
        with pytest.raises(MosaicError) as caught:
            sample.call.result(Response(status, {}, json.dumps(body).encode()))
        assert caught.value.status == status
        assert f"returned {status}" in str(caught.value)


def test_at_least_ten_thousand_cases() -> None:
    assert (len(FORMS) + len(EVENTS)) * CASES >= 10_000
