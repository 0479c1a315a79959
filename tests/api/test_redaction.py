from __future__ import annotations

import base64
import html
import json
import traceback
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.endpoints.assets import start_upload
from airflow_provider_mosaic.api.endpoints.posts import create_post
from airflow_provider_mosaic.api.endpoints.runs import get_run, start_run
from airflow_provider_mosaic.api.errors import MosaicError, MosaicValidationError
from airflow_provider_mosaic.api.file_links import link_secrets
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.redaction import label, masked, redact, redact_path, remember_ids, remember_signed
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.api.webhooks import read_event

from .every_sample import SAMPLES

KEY = "mk_live_hush"
SIGNED = "https://s.example/a.mp4?sig=hush"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key mk_live_hush is wrong", "key *** is wrong"),
        ("'mk_hu-sh_1'", "'***'"),
        ("MK_HUSH", "***"),
        ("whsk_hush.", "***."),
        ("Authorization: Bearer hush", "Authorization: Bearer ***"),
        ("bearer hush, and more", "bearer *** and more"),
        ("see https://a.example/v.mp4?X-Goog-Signature=hush&b=1 now", "see https://a.example/v.mp4?*** now"),
        ("'https://a.example/v?sig=hush'", "'https://a.example/v?***'"),
        ('"https://a.example/v?sig=hush"', '"https://a.example/v?***"'),
        ("<https://a.example/v?sig=hush#hush>", "<https://a.example/v?***#***>"),
        ("see https://a.example/cb#access_token=hush now", "see https://a.example/cb#*** now"),
        ("next=https%3A%2F%2Fa.example%2Fo.mp4%3FX-Sig%3Dhush", "next=https%3A%2F%2Fa.example%2Fo.mp4***"),
        ("next=https%3a%2f%2fa.example%2fo%23hush&b=1", "next=https%3a%2f%2fa.example%2fo***&b=1"),
        ("next=https%253A%252F%252Fa.example%253Fsig%253Dhush", "next=https%253A%252F%252Fa.example***"),
        ("next=https%3A%2F%2Fu%3Ahush%40a.example%2Fo", "next=https%3A%2F%2Fa.example%2Fo"),
        ("100%3A1 and 20%", "100%3A1 and 20%"),
        ("https://someone:hush@a.example/v", "https://a.example/v"),
        ("https://someone:hu@sh@a.example/v", "https://a.example/v"),
        ("https://a.example/v?mail=hush@b.example", "https://a.example/v?***"),
        ("https://a.example?mail=hush@b.example", "https://a.example?***"),
        ("s3://hush:hush@bucket/key?versionId=hush", "s3://bucket/key?***"),
        ("s3://my_aws@bucket/key?versionId=hush", "s3://my_aws@bucket/key?***"),
        ("abfss://films@account.example/a and gs://g-1@b", "abfss://films@account.example/a and gs://g-1@b"),
        ("xs3://hush@bucket/key", "xs3://bucket/key"),
        ("redis://hush@host/1", "redis://host/1"),
        ("https://a.example/ https://b.example/?hush", "https://a.example/ https://b.example/?***"),
        ("Expired: /bucket/v.mp4?X-Goog-Signature=hush&b=1 now", "Expired: /bucket/v.mp4?*** now"),
        ("https://a.example/v.mp4;jwt=hush?b=1", "https://a.example/v.mp4;***?***"),
        ("gone: /v.mp4;jwt=hush now", "gone: /v.mp4;*** now"),
        ("token eyJhbGciOi.eyJzdWIi.hush-1 is old", "token *** is old"),
        ("http://someone:hu/sh@proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example:3128/@someone", "http://proxy.example:3128/@someone"),
        ("red \x1b[31m, \u202eturned", "red \\x1b[31m, \\u202eturned"),
        ("two\nlines\tstay", "two\nlines\tstay"),
        ("What? No.", "What? No."),
        ("is it a=b?", "is it a=b?"),
        ("smk_thing and task_mk_1", "smk_thing and task_mk_1"),
        ("https://a.example/plain", "https://a.example/plain"),
        ("", ""),
    ],
)
def test_redact_masks_secrets_only(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean


def test_given_secrets_are_masked_anywhere() -> None:
    assert redact("a-plain-key! xa-plain-keyx", ("a-plain-key", "")) == "***! x***x"


@pytest.mark.parametrize(
    "secret",
    [
        "a+b/c==",
        "with space&<x>",
        'a"quote',
        "it's\\so",
        "ü-umlaut-à",
        "mk_live_hush",
        "100%25",
        "%C3%BC+%2Fx",
        "a\\b'\"c",
    ],
)
def test_given_secrets_are_masked_in_every_spelling(secret: str) -> None:
    for spelled in (
        secret,
        secret.upper(),
        quote(secret),
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        unquote(secret),
        unquote_plus(secret),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        repr(secret)[1:-1],
        " ".join(secret.split()),
        secret.removeprefix("mk_"),
        quote_plus(secret),
        quote(quote(quote(secret, safe=""), safe=""), safe="").lower(),
        html.escape(html.escape(secret)),
        json.dumps(json.dumps(secret))[3:-3],
        repr(secret)[1:-1],
        secret.replace("/", "\\/"),
        "".join(f"%{byte:02x}" for byte in unquote_plus(secret).encode()),
        "".join(f"&#x{ord(char):X};" for char in unquote_plus(secret)),
        "".join(f"&#{ord(char):03};" for char in unquote_plus(secret)),
        "".join(f"\\u{ord(char):04x}" for char in unquote_plus(secret)),
        "".join(f"\\\\x{byte:02x}" for byte in unquote_plus(secret).encode("latin-1")),
        secret.replace(" ", "\t  "),
    ):
        assert redact(f"who sent <{spelled}>?", (secret,)) == "who sent <***>?"


def test_short_spellings_of_a_secret_are_words() -> None:
    assert redact("short mk_short", ("mk_short",)) == "short ***"
    # The caller decides that a short value is a secret.
    assert redact("an abc", ("abc",)) == "an ***"


@pytest.mark.parametrize("before", ["", "b", "Bearer ", "user:"])
def test_known_secrets_are_masked_in_base64(before: str) -> None:
    key = "plain-key?>77c1e0"
    Access(api_key=key)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        code = encode(f"{before}{key} and more".encode()).decode()
        shown = redact(f"token {code}")
        assert "***" in shown
        assert not any(code[at : at + 8] in shown for at in range(len(before) * 8 // 6 + 4, len(key)))


@settings(max_examples=300)
@given(
    before=st.text("ab%25&#x;\\u0041+ amp", max_size=30),
    after=st.text("ab%25&#x;\\u0041+ amp", max_size=30),
    spelled=st.sampled_from(["hush/x+y", "hush%2Fx%2By", "hush%2fx+y", "hush&#x2F;x y", "HUSH\\/x\\u002by"]),
)
def test_only_the_secret_is_masked(before: str, after: str, spelled: str) -> None:
    assert redact(f"{before}<{spelled}>{after}", ("hush%2Fx%2By",)) == redact(f"{before}<***>{after}")


def test_longer_of_two_secrets_is_masked_first() -> None:
    assert redact("a token-one, a token-one-two", ("token-one", "token-one-two")) == "a ***, a ***"


def test_values_of_a_link_are_secrets() -> None:
    link = "https://u:pass1@a.example/folder99/film.mp4;jwt=param1?n=201&t=short&next=https%3A%2F%2Fb.example%2F%3Fs%3Dinner#frag1"
    found = link_secrets(link)
    assert {"pass1", "folder99", "param1", "short", "inner", "frag1"} <= set(found)
    assert not {"201", "n", "t", "film.mp4", "a.example"} & set(found)


@pytest.mark.parametrize(
    ("query", "is_secret"),
    [
        ("f=cut.mov", False),
        ("f=a%20cut.MP4", False),
        ("response-content-disposition=attachment;filename=cut.mov", False),
        ("f=hush", True),
        ("sig=hush.mov", True),
        ("f=hush.exe", True),
        ("f=folder/hush.mov", True),
        ("f=folder%2Fhush.mov", True),
        ("f=folder%252Fhush.mov", True),
        ("f=x%3Fsig%3Dhush.mov", True),
        ("f=https%3A%2F%2Fb.example%2F%3Fs%3Dhush.mov", True),
    ],
)
def test_file_name_in_a_query_is_no_secret(query: str, is_secret: bool) -> None:
    value = query.rpartition("=")[2]
    assert (value in link_secrets(f"https://a.example/get?n=1&{query}")) is is_secret


def test_ids_are_no_secrets_of_a_link_unless_it_was_used_before() -> None:
    remember_signed(link_secrets("https://a.example/?n=earlier-7f2c9d", path=False))
    remember_ids("manual__2026-03-01T02:03:04+00:00", "out+1/4f8a2c6e0b", "earlier-7f2c9d")
    query = "a=manual__2026-03-01T02%3A03%3A04%2B00:00&b=2026-03-01T02:03&c=out%2b1%2F4f8a2c6e0b&d=later-3e1b5a8d&e=x"
    remember_signed(link_secrets(f"https://a.example/?{query}", path=False))
    ids = "manual__2026-03-01T02:03:04+00:00 out+1/4f8a2c6e0b"
    assert masked(f"{ids} earlier-7f2c9d later-3e1b5a8d") == f"{ids} *** ***"


def test_links_with_many_values_displace_no_others() -> None:
    start_run("agent-1", video_urls=["https://a.example/?sig=kept-0f1e2d3c4b"])
    # A host may redirect ten times.
    for link in range(10):
        query = "&".join(f"a={link}-{n}-random-value" for n in range(400))
        remember_signed(link_secrets(f"https://b.example/?{query}", path=False))
    assert masked("kept-0f1e2d3c4b") == "***"
    # The limit is one of each link of a request.
    start_run("agent-1", video_urls=[f"https://c.example/?sig=many-{n:03}-5d4c3b2a" for n in range(60)])
    assert masked("many-000-5d4c3b2a many-059-5d4c3b2a") == "*** ***"


def test_path_keeps_what_a_link_contains() -> None:
    Access(api_key="plain-key-5b7e")
    remember_signed(["nightly-2026b"])
    for path in ("/data/nightly-2026b/a.mp4", "s3://conn@bucket/nightly-2026b/a.mp4"):
        assert redact_path(path) == path != redact(path)
    shown = redact_path("https://u:hush@h.example/mk_hush/plain-key-5b7e/nightly-2026b?sig=hush")
    assert shown == "https://h.example/***/***/nightly-2026b?***"


def test_link_with_many_values_is_read_in_time() -> None:
    assert len(link_secrets("https://a.example/?" + "&".join(f"a=value{n}" for n in range(100_000)))) == 500
    assert link_secrets("https://a.example/?a=" + "https://a.example/?a=" * 10_000)
    # Seconds at most; a regular expression of all values would take minutes.
    redact("gone", link_secrets("https://a.example/?" + "&".join(f"a={n}{'-_~.!$*x' * 200}" for n in range(500))))


def test_label_is_short_and_visible() -> None:
    assert label("run-1") == "run-1"
    assert label("Zürich 🎬") == "Zürich 🎬"
    assert label("a\nb\u202e\x00") == "a b\\u202e\\x00"
    assert len(label("x" * 100_000)) <= 201
    for name in ("a/b (1): c & d", "What? No.", "smk_thing and task_mk_1", "T3V0cHV0OjE=", ""):
        assert label(name) == name


@pytest.mark.parametrize(
    "text", [KEY, f"a {KEY}", "whsk_hush", SIGNED, quote(SIGNED, safe=""), "/a.mp4?sig=hush", f"a\n{SIGNED}"]
)
def test_label_shows_no_secrets(text: str) -> None:
    assert "hush" not in label(text)
    assert label(label(text)) == label(text)


def test_cut_text_shows_no_part_of_a_secret() -> None:
    assert redact("x" * 10_000, longest=100) == "x" * 100 + "…"
    assert redact("short", longest=100) == "short"
    # The policy of a form is longer than most messages.
    assert redact("word " * 1_000, ("a1" * 1_000,), longest=500) == "word " * 100 + "…"
    for before in range(740, 830):
        # Masking makes the text shorter, so the end of the cut text becomes part of the result.
        text = f"https://a.example/?{'q' * before} https://someone:hush@a.example/ a-plain-key! {'z ' * 100}"
        shown = redact(text, ("a-plain-key",), longest=100)
        assert "hush" not in shown
        assert "plain" not in shown


@pytest.mark.parametrize(
    "part",
    [
        *(
            "a",
            "a.",
            "%3A%2F%2F",
            "%25",
            "://",
            "://a@",
            "?",
            "?a=",
            "%3F",
            "%3A%2F%2Fx%40",
            "mk_",
            "#",
            "%3A%2F%2F%3F",
            "eyJ-",
        ),
        *("%2525", "&amp;", "&", "&amp;#x", "\\", "\\u", "+", "\t "),
    ],
)
def test_redact_takes_linear_time(part: str) -> None:
    # Linear time for 200,000 characters is less than a second; quadratic time would be minutes.
    redact(part * (200_000 // len(part)))


@settings(max_examples=300)
@given(
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    secret=st.text(st.characters(categories=["L", "N"]), min_size=6, max_size=30),
)
def test_any_text_around_a_secret_keeps_it_masked(before: str, after: str, secret: str) -> None:
    marked = f"hush{secret}hush"
    assert marked not in redact(f"{before} https://a.example/v.mp4?sig={marked} {after}")
    assert marked not in redact(f"{before}mk_{marked}{after}", (f"mk_{marked}",))


def chain(error: BaseException) -> str:
    """Return everything that a log can show of an error."""
    parts = [*traceback.format_exception(error)]
    link: BaseException | None = error
    while link is not None:
        parts += [str(link), repr(link), repr(vars(link))]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join(parts)


HOSTILE = f"who is {KEY}? Bearer {KEY}; whsk_hush; https://u:hush@s.example/v.mp4?X-Goog-Signature=hush"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        {"detail": HOSTILE},
        {"detail": [{"loc": ["header", "authorization"], "msg": HOSTILE, "input": HOSTILE}]},
        {"detail": {"sent": HOSTILE}},
        {"error": HOSTILE},
        HOSTILE,
        f"<html><title>{HOSTILE}</title>{HOSTILE}</html>".encode(),
        HOSTILE.encode(),
    ],
    ids=["text", "list", "object", "code", "bare text", "HTML", "no JSON"],
)
def test_error_shows_no_secrets_of_the_response(status: int, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    call = start_run("agent-1", video_urls=["https://s.example/a.mp4?sig=hush"])
    with pytest.raises(MosaicError) as caught:
        call.result(Response(status, {"www-authenticate": HOSTILE}, content), (KEY,))
    assert "hush" not in chain(caught.value)
    assert "hush" not in chain(call.final_error(caught.value))


@pytest.mark.parametrize("name", SAMPLES)
def test_invalid_response_is_not_shown(name: str) -> None:
    for body in (
        {"odd": HOSTILE},
        [HOSTILE],
        HOSTILE,
        {"status": {"odd": HOSTILE}, "agent": HOSTILE, "runs": HOSTILE},
    ):
        try:
            result = SAMPLES[name].call.result(Response(200, {}, json.dumps(body).encode()), (KEY,))
        except MosaicError as caught:
            shown = chain(caught)
        else:
            shown = repr(result)
        assert "hush" not in shown


@pytest.mark.parametrize("name", SAMPLES)
def test_calls_and_results_show_no_signed_links(name: str) -> None:
    sample = SAMPLES[name]
    result = sample.call.result(Response(200, {}, json.dumps(sample.answer).encode()))
    for shown in (
        repr(result),
        str(result),
        f"{result}",
        repr([result]),
        repr({"a": result}),
        repr(sample.call),
        str(sample.call),
    ):
        assert "hush" not in shown


def test_call_does_not_show_its_body() -> None:
    post = create_post("Text", platforms=["x"], media_urls=["https://s.example/a.mp4?sig=hush"])
    run = start_run("a", video_urls=["https://s.example/a.mp4?sig=hush"], update_params={"n": {"password": "hush"}})
    assert "hush" not in f"{post!r}{run!r}{post}{run}"


def test_link_instead_of_id_is_not_shown() -> None:
    with pytest.raises(MosaicValidationError, match="it must be an id, not a link") as caught:
        get_run(SIGNED)
    assert "hush" not in chain(caught.value)


def test_api_key_instead_of_id_is_not_shown() -> None:
    call = get_run(KEY)
    with pytest.raises(MosaicError) as caught:
        call.result(Response(404, {}, b"{}"))
    assert "hush" not in chain(caught.value)


def test_upload_form_is_not_shown() -> None:
    sample = SAMPLES["start_upload:video"]
    form = start_upload(AssetType.VIDEO).result(Response(200, {}, json.dumps(sample.answer).encode()))
    assert form.upload_fields["policy"] == "hush"
    assert "hush" not in repr(form)
    assert "storage.example" not in repr(form)


def test_access_does_not_show_its_key() -> None:
    access = Access(api_key=KEY)
    assert "hush" not in f"{access!r}{access}"
    assert access.api_key == KEY


def test_webhook_shows_no_hostile_text() -> None:
    odd = "odd\n2026-01-01 ERROR forged \x1b[31m\u202e"
    event = read_event(
        json.dumps({"flag": odd, "agent_id": odd, "status": odd, "hush": "hush", "triggered_by": {odd: "hush"}})
    )
    for text in (event.flag, event.agent_id, event.status, repr(event), str(event)):
        assert "hush" not in str(text)
        assert str(text).isprintable()
    with pytest.raises(MosaicError) as caught:
        read_event(json.dumps({"run_id": odd, odd: odd}))
    assert "forged" not in str(caught.value)
