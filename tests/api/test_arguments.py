from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mosaic.api import arguments
from airflow_provider_mosaic.api.arguments import (
    ListOf,
    id_key,
    validate_choice,
    validate_datetime,
    validate_id,
    validate_list,
    validate_mapping,
    validate_name,
    validate_seconds,
    validate_url,
)
from airflow_provider_mosaic.api.endpoints.posts import create_post, get_post
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run, list_runs, start_run
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.options import validate_filename

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)
SIGNED = "https://s.example/a.mp4?sig=hush"

#: Invalid ids, each with a part of the error.
INVALID_IDS: list[tuple[Any, str]] = [
    ("", "it must be an id"),
    ("  ", "it must be an id"),
    (None, "as text, not None"),
    ("None", "the upstream task returned nothing"),
    ("null", "the upstream task returned nothing"),
    (5, "as text, not int"),
    (["a"], "as text, not list"),
    (b"a", "as text, not bytes"),
    ("{{ ti.xcom_pull('upload') }}", "this template was not rendered"),
    ("{% if x %}", "this template was not rendered"),
    ("a b", "no spaces"),
    ("a\tb", "no spaces"),
    ("a\x00b", "no spaces"),
    ("a\u200bb", "no spaces"),
    ("\ud800", "no spaces"),
    (".", "no spaces"),
    ("..", "no spaces"),
    ("a/b", r"no / \ ? # %"),
    ("a\\b", r"no / \ ? # %"),
    ("a?b", r"no / \ ? # %"),
    ("a#b", r"no / \ ? # %"),
    ("a%2Fb", r"no / \ ? # %"),
    ("x" * 501, "it has 501 characters; an id has at most 500"),
]


def assert_rejected(name: str, value: Any, words: str, function: Callable[[], Any]) -> None:
    """Assert that a function rejects a value with an error that names the argument, the value and the fix."""
    with pytest.raises(MosaicValidationError) as caught:
        function()
    message = str(caught.value)
    assert message.startswith(f"{name}="), message
    assert words in message, message
    assert "hush" not in message
    shown = repr(value)
    assert "hush" in shown or shown in message or "…" in message, message


# Ids and names


@pytest.mark.parametrize(("value", "words"), INVALID_IDS)
def test_invalid_id_is_rejected(value: Any, words: str) -> None:
    assert_rejected("run_id", value, words, lambda: get_run(value))
    assert_rejected("run_id", value, words, lambda: cancel_run(value))
    assert_rejected("post_id", value, words, lambda: get_post(value))
    assert_rejected("agent_id", value, words, lambda: start_run(value))
    assert_rejected("video_ids[1]", value, words, lambda: start_run("a", video_ids=["v", value]))
    assert_rejected("social_connection_ids[0]", value, words, lambda: create_post("t", social_connection_ids=[value]))


def test_list_runs_without_agent_lists_all_but_empty_agent_id_is_invalid() -> None:
    assert list_runs(None).page(None).path == "/agent_runs"
    assert_rejected("agent_id", "", "it must be an id", lambda: list_runs("").page(None))


@pytest.mark.parametrize("value", ["a", "img-1", "UCabc", "ü", "a:b", "0", "x" * 500])
def test_valid_id(value: str) -> None:
    assert validate_id("x", value) == value


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ("C0000000-0000-4000-8000-00000000000A", "c0000000-0000-4000-8000-00000000000a", True),
        ("C000000000004000800000000000000A", "c0000000-0000-4000-8000-00000000000a", True),
        ("c0000000-0000-4000-8000-00000000000b", "c0000000-0000-4000-8000-00000000000a", False),
        ("img-A", "IMG-a", True),
        ("a-b", "ab", False),
        ("img-c00000000000400080000000000000", "imgc00000000000400080000000000000", False),
        ("c0000000-0000-4000-8000-0000000000", "c000000000004000800000000000000000", False),
    ],
)
def test_ids_are_compared_without_case_and_uuids_without_hyphens(one: str, other: str, are_equal: bool) -> None:
    assert (id_key(one) == id_key(other)) is are_equal


def test_editor_link_as_id_is_rejected_with_hint() -> None:
    link = "https://edit.mosaic.so/agents/agent-1"
    assert_rejected("agent_id", link, "the last part of the address", lambda: start_run(link))


@pytest.mark.parametrize(
    "value", ["http://[", "https://evil.com\\.localhost/x", "ftp://youtube.com/c", "https://a:99999/c"]
)
def test_invalid_link_instead_of_id_is_rejected(value: str) -> None:
    assert_rejected("x", value, "", lambda: validate_id("x", value, or_link=True))


@pytest.mark.parametrize("name", ["team/mosaic", "a#b", "mosaic_default"])
def test_valid_connection_id(name: str) -> None:
    assert validate_name("mosaic_conn_id", name) == name


# Lists


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (["a"], ["a"]),
        (("a", "b"), ["a", "b"]),
        ("a", ["a"]),
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        (" ['a'] ", ["a"]),
        (iter(["a"]), ["a"]),
        ({"a"}, ["a"]),
        (dict.fromkeys(["a"]).keys(), ["a"]),
    ],
)
def test_list_is_read_from_all_forms_of_airflow(value: Any, items: list[str]) -> None:
    assert validate_list("x", value) == items


_BODIES_OF_SETS = """
from airflow_provider_mosaic.api.endpoints.runs import start_run
from airflow_provider_mosaic.api.endpoints.posts import create_post
words = {"intro", "talk", "outro", "credits"}
links = frozenset(f"https://example.com/{word}.mp4" for word in words)
print(start_run("a", video_urls=links, ignore_nodes=words).body)
print(create_post("Hello", platforms={"x", "youtube", "tiktok"}, media_urls=links).body)
"""


def test_set_makes_the_same_request_in_every_process() -> None:
    bodies = {
        subprocess.run(
            [sys.executable, "-c", _BODIES_OF_SETS],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in range(1, 5)
    }
    assert len(bodies) == 1
    assert "['credits', 'intro', 'outro', 'talk']" in bodies.pop()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "it is empty"),
        ("[]", "it is empty"),
        (iter(()), "it is empty"),
        ("[broken", "can't be parsed"),
        ("[a, b]", "can't be parsed"),
        ("[" * 10_000, "can't be parsed"),
        (5, "not int"),
        ({"a": 1}, "not dict"),
        (b"ab", "not bytes"),
    ],
)
def test_invalid_list_is_rejected(value: Any, words: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"^x=.*{words}"):
        validate_list("x", value)


def test_invalid_id_in_list_is_named_by_index() -> None:
    assert_rejected("x[1]", "", "it must be an id", lambda: ListOf(validate_id)("x", ["a", ""]))
    assert_rejected("x[0]", "", "it must be an id", lambda: ListOf(validate_id)("x", ""))
    assert_rejected("x[0]", SIGNED, "not a link", lambda: ListOf(validate_id)("x", [SIGNED]))


# Links


@pytest.mark.parametrize(
    "value",
    [
        "https://a.example/v.mp4",
        "http://a.example",
        "HTTPS://A.example/v?a=b#c",
        SIGNED,
        "https://ü.example/ä",
        # As long as a host and a URL may be.
        pytest.param(f"https://{'ü.' * 126}x/v.mp4", id="longest host"),
        pytest.param(f"https://a.example/{'ä' * 16_366}", id="longest URL"),
    ],
)
def test_valid_url(value: str) -> None:
    assert validate_url("x", value) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a.example/v.mp4", "a full URL"),
        ("", "a full URL"),
        ("ftp://a.example/v", "a full URL"),
        ("s3://bucket/key?sig=hush", "a full URL"),
        ("https://", "a full URL"),
        ("https:///v", "a full URL"),
        ("https://a.example/a b?sig=hush", "a full URL"),
        ("https://a.example/v\n", "a full URL"),
        ("https://a.example/\x00", "a full URL"),
        ("https://a.example:port/", "not a URL"),
        ("https://a.example:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        pytest.param(f"https://{'é' * 254}/v.mp4?sig=hush", "not a URL", id="long host"),
        pytest.param(f"https:/\t/{'é' * 254}?sig=hush", "not a URL", id="long host after a tab"),
        pytest.param(f"https://a.example/v.mp4?sig={'hush' * 4_096}", "at most 16,384", id="long URL"),
        (None, "not None"),
        (["https://a.example"], "not list"),
    ],
)
def test_invalid_url_is_rejected_without_its_signature(value: Any, words: str) -> None:
    assert_rejected("x", value, words, lambda: validate_url("x", value))
    assert_rejected("x[0]", value, words, lambda: ListOf(validate_url)("x", [value]))


@pytest.mark.parametrize(
    "value", ["https://hooks.example/a", "http://127.0.0.1:8080/a", "http://localhost/a", "http://[::1]/a"]
)
def test_callback_url_is_https_or_this_machine(value: str) -> None:
    assert start_run("a", callback_url=value).body == {"callback_url": value}


def test_callback_url_over_http_is_rejected() -> None:
    value = "http://hooks.example/a?token=hush"
    assert_rejected("callback_url", value, "use https://", lambda: start_run("a", callback_url=value))


def test_callback_url_with_backslash_in_host_is_rejected() -> None:
    with pytest.raises(MosaicValidationError, match=r"^x=.*its host has a backslash"):
        validate_url("x", "http://evil.com\\@localhost/x", secure=True)


# Mappings


@pytest.mark.parametrize(
    ("value", "mapping"),
    [
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        ('{"a": null}', {"a": None}),
        ("{'a': None}", {"a": None}),
        (MappingProxyType({"a": 1}), {"a": 1}),
    ],
)
def test_mapping_is_read_from_all_forms_of_airflow(value: Any, mapping: dict[str, Any]) -> None:
    assert validate_mapping("x", value) == mapping


def ring() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "not list"),
        ("text", "not str"),
        ("{broken", "not str"),
        (None, "not None"),
        ({1: 2}, "its key 1 must be text"),
        ({"a": {1, 2}}, "can't be written as JSON"),
        ({"a": NOW}, "can't be written as JSON"),
        ({"a": float("nan")}, "can't be written as JSON"),
        (ring(), "can't be written as JSON"),
    ],
)
def test_invalid_mapping_is_rejected(value: Any, words: str) -> None:
    assert_rejected("x", value, words, lambda: validate_mapping("x", value))


# Times


@pytest.mark.parametrize(
    "value",
    [
        "2026-07-01T12:00:00Z",
        "2026-07-01T12:00:00z",
        " 2026-07-01T14:00:00+02:00 ",
        "2026-07-01 12:00:00+00:00",
        "2026-07-01T12:00:00.0000000Z",
        "2026-182T12:00:00Z",
        NOW,
        NOW.astimezone(timezone(timedelta(hours=-7))),
    ],
)
def test_valid_datetime_is_converted_to_utc(value: Any) -> None:
    assert validate_datetime("x", value) == NOW
    assert validate_datetime("x", value).tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-07-01T12:00:00", "no time zone"),
        ("2026-07-01 12:00:00.1234567", "no time zone"),
        ("2026-182T12:00:00", "no time zone"),
        (datetime(2026, 7, 1, 12), "no time zone"),
        ("2026-07-01", "T17:00:00Z"),
        ("12:00", "T17:00:00Z"),
        ("P1D", "T17:00:00Z"),
        ("P1D/P1D", "T17:00:00Z"),
        ("tomorrow", "T17:00:00Z"),
        ("", "T17:00:00Z"),
        ("2026-13-01T00:00:00Z", "T17:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "calendar"),
        (date(2026, 7, 1), "T17:00:00Z"),
        (1782907200, "T17:00:00Z"),
        (None, "T17:00:00Z"),
    ],
)
def test_invalid_datetime_is_rejected(value: Any, words: str) -> None:
    with pytest.raises(MosaicValidationError) as caught:
        validate_datetime("x", value)
    message = str(caught.value)
    assert message.startswith("x=")
    assert words in message or (words == "T17:00:00Z" and "no time zone" in message)


@pytest.mark.parametrize(("value", "seconds"), [(1, 1.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)])
def test_valid_duration(value: Any, seconds: float) -> None:
    assert validate_seconds("x", value) == seconds


@pytest.mark.parametrize(
    "value", [0, -1, timedelta(0), timedelta(seconds=-1), True, "5", None, float("nan"), float("inf"), [5]]
)
def test_invalid_duration_is_rejected(value: Any) -> None:
    assert_rejected("x", value, "must be", lambda: validate_seconds("x", value))


@pytest.mark.parametrize("digits", [400, 5000])
def test_duration_larger_than_any_float_is_rejected(digits: int) -> None:
    with pytest.raises(MosaicValidationError, match=r"^x=(1000|<int>).*must be a number of seconds"):
        validate_seconds("x", 10**digits)


# Choices and file names


@pytest.mark.parametrize("value", ["Warn", "", None, ["warn"], 5])
def test_invalid_choice_is_rejected(value: Any) -> None:
    assert_rejected(
        "on_partial",
        value,
        "one of warn, fail, skip",
        lambda: validate_choice("on_partial", value, ("warn", "fail", "skip")),
    )


@pytest.mark.parametrize(
    "template", ["{index:>999999999}", "{output_id.__class__}", "{run_id[0]}", "{index:{index}}", 5]
)
def test_file_name_template_has_plain_fields_only(template: Any) -> None:
    with pytest.raises(MosaicValidationError, match="it may contain"):
        validate_filename("filename", template)


@pytest.mark.parametrize(
    "template", ["{index:03d}-{part}{suffix}", "{output_id:>12}", "{{x}}{suffix}", "{index!r}.mp4"]
)
def test_file_name_template_may_have_formats(template: str) -> None:
    assert validate_filename("filename", template) == template


# Any value


@settings(max_examples=300)
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=30)
        | st.binary(max_size=9)
        | st.dates()
        | st.datetimes()
        | st.timedeltas(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
            | st.sets(st.integers())
        ),
        max_leaves=6,
    ),
    check=st.sampled_from(
        [
            name
            for name in dir(arguments)
            if name.startswith("validate_") and name not in ("validate_choice", "validate_text", "validate_path")
        ]
    ),
)
def test_any_value_is_valid_or_rejected_by_name(value: Any, check: str) -> None:
    try:
        getattr(arguments, check)("an_argument", value)
    except MosaicValidationError as caught:
        said = str(caught)
    else:
        return
    assert said.startswith("an_argument")
