"""No log line, exception or repr contains the secrets that a server repeats."""

from __future__ import annotations

import gc
import json
import logging
from pathlib import Path

import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.assets import UploadForm, finalize_upload
from airflow_provider_mosaic.api.endpoints.posts import create_post
from airflow_provider_mosaic.api.endpoints.runs import get_run, resume_run, start_run
from airflow_provider_mosaic.api.endpoints.social_connections import list_social_connections
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.reports import run_failure
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients.destinations import local_destination
from airflow_provider_mosaic.clients.sources import local_source, read_blocks
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.clients.upload import store

from .echoes import (
    ECHO,
    ECHO_OF_CALL,
    ECHO_OF_FORM,
    ECHO_OF_LINK,
    FIELDS,
    FOLDER,
    FORM_TARGET,
    KEY,
    LINK_TARGET,
    PARAMETER,
    PROXY_PASSWORD,
    QUERY,
    Answer,
    EchoingServer,
    broken,
    echo_of,
    every_line,
    http,
    leaks,
    outcome,
    refusals,
    texts_of,
    unparsable_headers,
)
from .on_loopback import fetch, read_file_info, send_form, url_source
from .servers import HostileServer, answer
from .transports import Transport

pytestmark = pytest.mark.hostile

#: What a proxy receives: its own password, and the key of plain HTTP.
ECHO_OF_PROXY = f"{PROXY_PASSWORD} {PROXY_PASSWORD.replace('/', '%2F')} someone:{PROXY_PASSWORD} {KEY}"
CALLS: dict[str, Call[object]] = {
    "whoami": whoami(),
    "read a run": get_run("run-1"),
    "start a run": start_run("agent-1"),
    "resume a run": resume_run("run-1"),
    "post": create_post("Text", platforms=["x"]),
    "finalize": finalize_upload(AssetType.VIDEO, "asset-1"),
}
ANSWERS = {
    f"{name} of {status}": action
    for status in (403, 502)
    for name, action in {**refusals(status, ECHO_OF_CALL), **broken(ECHO_OF_CALL)}.items()
}


def json_of(body: bytes) -> Answer:
    return lambda _: http("200 OK", body)


@pytest.mark.parametrize("name", ANSWERS)
def test_secrets_in_api_responses_stay_hidden(transport: Transport, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # The API does not receive this password, but the proxy does.
    monkeypatch.setenv("FTP_PROXY", f"http://someone:{PROXY_PASSWORD}@127.0.0.1:1")
    with EchoingServer(ANSWERS[name]) as server, every_line() as lines:
        access = Access(api_key=KEY, base_url=server.url, timeout=5, connect_timeout=5)
        for call in CALLS.values():
            with pytest.raises(MosaicError) as caught:
                transport.send(access, call, retries=ONCE)
            assert not leaks(texts_of(caught.value))
        assert not leaks(*lines)
        assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    library = "urllib3" if transport.kind == "sync" else "httpcore"
    assert any(line.startswith(library) for line in lines)


@pytest.mark.parametrize("shape", ["unparsable", "good"])
def test_response_headers_are_not_logged(transport: Transport, shape: str) -> None:
    good = http("200 OK", b"{}", f"Location: {LINK_TARGET}")
    with EchoingServer(lambda _: unparsable_headers(good) if shape == "unparsable" else good) as server:
        access = Access(api_key=KEY, base_url=server.url, timeout=5, connect_timeout=5)
        with every_line() as lines:
            text = outcome(lambda: transport.send(access, whoami(), retries=ONCE))
    assert lines
    assert not leaks(text, *lines)


def test_models_do_not_show_the_key(transport: Transport) -> None:
    echo = json.dumps(ECHO)[1:-1]
    body = (
        f'{{"status": "{KEY}", "status_message": "{KEY}", "agent_id": "{KEY}", "odd": "{echo}", "outputs": '
        f'[{{"id": "{KEY}", "video_url": "https://cdn.test{LINK_TARGET}", "sources": [{{"odd": "{echo}"}}]}}], '
        f'"errors": [{{"original_node_id": "{KEY}", "messages": ["{KEY}"]}}], "triggered_by": {{"odd": "{echo}"}}}}'
    ).encode()
    with EchoingServer(json_of(body)) as server, every_line() as lines:
        access = Access(api_key=KEY, base_url=server.url)
        [run] = transport.send(access, get_run("run-1"))
        assert not leaks(repr(run), str(run), f"{run}", repr([run]), repr(access))
        assert not leaks(texts_of(run_failure(run)), *lines)
    assert run.outputs[0].video_url == f"https://cdn.test{LINK_TARGET}"
    assert run.model_extra == {"odd": ECHO}


SIGNATURES = echo_of(QUERY["X-Goog-Signature"], QUERY["X-Goog-Credential"])


@pytest.mark.parametrize("name", {**refusals(403, "a"), **broken("a")})
def test_signatures_of_sent_links_stay_hidden(transport: Transport, name: str) -> None:
    link = f"https://cdn.test{LINK_TARGET}"
    entry = {"agent_node_id": "node-1", "video_urls": [link]}
    with EchoingServer({**refusals(403, SIGNATURES), **broken(SIGNATURES)}[name]) as server, every_line() as lines:
        access = Access(api_key=KEY, base_url=server.url, timeout=5, connect_timeout=5)
        for call in (
            start_run("agent-1", video_inputs=[entry]),
            create_post("Text", platforms=["x"], media_urls=[link]),
        ):
            with pytest.raises(MosaicError) as caught:
                transport.send(access, call, retries=ONCE)
            assert not leaks(texts_of(caught.value))
    assert not leaks(*lines)


@pytest.mark.parametrize(
    "body", [{"success": False, "error": SIGNATURES}, {SIGNATURES: 1, "run_id": {SIGNATURES: SIGNATURES}}]
)
def test_signatures_of_sent_links_stay_hidden_in_a_2xx(transport: Transport, body: dict[str, object]) -> None:
    with EchoingServer(json_of(json.dumps(body).encode())) as server:
        call = start_run("agent-1", video_urls=[f"https://cdn.test{LINK_TARGET}"])
        with pytest.raises(MosaicError) as caught:
            transport.send(Access(api_key=KEY, base_url=server.url), call, retries=ONCE)
        assert not leaks(texts_of(caught.value))


def test_unknown_field_names_stay_hidden(transport: Transport) -> None:
    body = f'{{"connected_accounts": [{{"{ECHO}": 1}}, "{ECHO}"]}}'.encode()
    with EchoingServer(json_of(body)) as server, every_line() as lines:
        with pytest.raises(MosaicError) as caught:
            transport.send(Access(api_key=KEY, base_url=server.url), list_social_connections())
        assert not leaks(texts_of(caught.value), *lines)


# Transfers


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"film" * 1000)
    return path


@pytest.mark.parametrize("status", [400, 403, 413, 429, 500])
@pytest.mark.parametrize("name", refusals(403, "a"))
def test_secrets_of_a_form_stay_hidden(plain_environment: None, film: Path, status: int, name: str) -> None:
    with EchoingServer(refusals(status, ECHO_OF_FORM)[name]) as host, every_line() as lines:
        form = UploadForm(asset_id="a1", upload_url=host.url + FORM_TARGET, upload_fields=FIELDS)
        with pytest.raises(MosaicError) as caught:
            send_form(form, local_source(film), "video/mp4")
        assert not leaks(texts_of(caught.value), repr(form), *lines)
        assert FIELDS["policy"].encode() in host.seen[0].body
    assert any(line.startswith("urllib3") for line in lines)


@pytest.mark.parametrize("name", broken("a"))
def test_secrets_of_a_form_stay_hidden_in_malformed_responses(plain_environment: None, film: Path, name: str) -> None:
    with EchoingServer(broken(ECHO_OF_FORM)[name]) as host, every_line() as lines:
        form = UploadForm(asset_id="a1", upload_url=host.url + FORM_TARGET, upload_fields=FIELDS)
        text = outcome(lambda: send_form(form, local_source(film), "video/mp4"))
        assert not leaks(text, *lines)


def test_successful_upload_logs_no_secrets(plain_environment: None, film: Path) -> None:
    """urllib3's warning of an invalid header contains the whole URL."""
    with EchoingServer(lambda _: unparsable_headers(http("204 No Content"))) as host:
        asset = {"video_id": "asset-1", "upload_url": host.url + FORM_TARGET, "upload_fields": FIELDS}
        with HostileServer(answer(200, asset)) as api, every_line() as lines:
            client = SyncClient(Access(api_key=KEY, base_url=api.url))
            with client:
                assert store(client, local_source(film), AssetType.VIDEO, "video/mp4") == "asset-1"
    assert any("WARNING Failed to parse headers" in line for line in lines)
    assert not leaks(*lines)


@pytest.mark.parametrize("name", {**refusals(403, "a"), **broken("a")})
@pytest.mark.parametrize("status", [403, 404, 500])
def test_secrets_of_a_url_stay_hidden(plain_environment: None, tmp_path: Path, name: str, status: int) -> None:
    acts = {**refusals(status, ECHO_OF_LINK), **broken(ECHO_OF_LINK)}
    with EchoingServer(acts[name]) as host, every_line() as lines:
        link = host.url + LINK_TARGET
        retries = RetryPolicy(attempts=1)
        for action in (
            lambda: fetch(lambda: link, local_destination(tmp_path / "out.mp4"), retries=retries, timeout=5),
            lambda: read_file_info(lambda: link, retries=retries, timeout=5),
            lambda: url_source(link, timeout=5),
        ):
            assert not leaks(outcome(action))
    assert not leaks(*lines)


@pytest.mark.parametrize("name", {**refusals(403, "a"), **broken("a")})
def test_secrets_of_a_redirect_stay_hidden(plain_environment: None, tmp_path: Path, name: str) -> None:
    landing_answer = {**refusals(403, ECHO_OF_LINK), **broken(ECHO_OF_LINK)}[name]
    with EchoingServer(landing_answer) as landing, every_line() as lines:
        hop = http("302 Found", b"", f"Location: {landing.url}{LINK_TARGET}")
        with EchoingServer(lambda _: hop) as host:
            for action in (
                lambda: fetch(lambda: host.url, local_destination(tmp_path / "out.mp4"), retries=ONCE, timeout=5),
                lambda: read_file_info(lambda: host.url, retries=ONCE, timeout=5),
                lambda: list(read_blocks(url_source(host.url, timeout=5))),
            ):
                assert not leaks(outcome(action))
    assert not leaks(*lines)


def test_forbidden_host_of_a_redirect_shows_no_secrets(
    plain_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for secret in (FOLDER, PARAMETER, QUERY["t"]):
        hop = http("302 Found", b"", f"Location: https://{secret}.internal/film.mp4")
        with EchoingServer(lambda _, hop=hop: hop) as host, pytest.raises(MosaicError, match="not a public") as caught:
            fetch(lambda: host.url + LINK_TARGET, local_destination(tmp_path / "out.mp4"), retries=ONCE)
        assert not leaks(texts_of(caught.value))


def test_content_type_is_short_and_shows_no_secrets(plain_environment: None) -> None:
    for content_type in (f"video/{FOLDER}; a=b", f"\x9b31m\xad/{PARAMETER} {'x' * 50_000}"):
        good = http("200 OK", b"film", f"Content-Type: {content_type}")
        with EchoingServer(lambda _, good=good: good) as host:
            info = read_file_info(lambda: host.url + LINK_TARGET)
        assert not leaks(info.media_type)
        assert len(info.media_type) < 300
        assert info.media_type.isprintable()


def test_successful_download_logs_no_secrets(plain_environment: None, tmp_path: Path) -> None:
    name = FIELDS["x-goog-signature"]
    good = http(
        "200 OK",
        b"film",
        f"Content-Disposition: attachment; filename={LINK_TARGET.partition('Signature=')[2][:13]}.mp4",
        f'ETag: "{name}"',
    )
    with EchoingServer(lambda _: unparsable_headers(good)) as landing, every_line() as lines:
        hop = http("302 Found", b"", f"Location: {landing.url}{LINK_TARGET}")
        with EchoingServer(lambda _: unparsable_headers(hop)) as host:
            assert fetch(lambda: f"{host.url}/start?a=b", local_destination(tmp_path / "out.mp4")) == 4
            assert not leaks(repr(read_file_info(lambda: f"{host.url}/start?a=b")))
            source = url_source(f"{host.url}/start?a=b")
            assert not leaks(source.name, source.shown, repr(source).replace(source.stamp, ""))
    assert any("WARNING Failed to parse headers" in line for line in lines)
    assert not leaks(*lines)


# Proxies


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_password_stays_hidden(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    secret = PROXY_PASSWORD.rpartition("/")[2]
    with EchoingServer(lambda _: http(f"407 {ECHO_OF_PROXY}", ECHO_OF_PROXY.encode())) as proxy, every_line() as lines:
        for password in (PROXY_PASSWORD, PROXY_PASSWORD.replace("/", "%2F")):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://someone:{password}@127.0.0.1:{proxy.port}")
            with pytest.raises(MosaicError) as caught:
                transport.send(Access(api_key=KEY, base_url=f"{scheme}://mosaic.test"), whoami(), retries=ONCE)
            assert secret not in texts_of(caught.value)
            with pytest.raises(MosaicError) as caught:
                fetch(
                    lambda: f"{scheme}://mosaic.test{LINK_TARGET}",
                    local_destination(tmp_path / "out.mp4"),
                    retries=RetryPolicy(attempts=1),
                )
            assert not leaks(texts_of(caught.value))
    assert secret not in "\n".join(lines)
    gc.collect()  # urllib3 1.26 leaves the socket of a refused tunnel open: it must not warn in another test


# Loggers


@pytest.mark.parametrize(
    "name", ["urllib3", "urllib3.later", "httpx", "httpx.later", "httpcore", "httpcore.http2.later"]
)
@pytest.mark.parametrize("level", [1, logging.DEBUG, logging.WARNING, logging.CRITICAL])
def test_all_loggers_of_http_libraries_are_redacted(transport: Transport, name: str, level: int) -> None:
    with HostileServer(answer(200, {})) as server:
        transport.send(Access(api_key=KEY, base_url=server.url), whoami())
    with every_line() as lines:
        logger = logging.getLogger(name)
        link = f"https://cdn.test/film.mp4?X-Goog-Signature={FIELDS['x-goog-signature']}"
        logger.log(level, "at %s", link)
        logger.log(level, f"at {link}")
        logger.log(level, "%(link)s", {"link": link})
        logger.log(level, "to %s: %r", "/film.mp4?t=querysign31f0", ValueError("querysign31f0"))
        logger.log(level, "done [(b'Location', b'querysign31f0'), (b'Set-Cookie', b'cookiemark28ee')]")
        logger.log(level, "100 % of %s", link)
        try:
            raise ValueError("fieldsign66a3")
        except ValueError:
            logger.log(level, "broken", exc_info=True)
    assert len(lines) >= 7
    assert not leaks(*lines)


def test_other_loggers_are_unchanged(transport: Transport) -> None:
    with HostileServer(answer(200, {})) as server:
        transport.send(Access(api_key=KEY, base_url=server.url), whoami())
    with every_line() as lines:
        logging.getLogger("other.urllib3").info("at %s", "https://cdn.test/a?b=c")
    assert any("https://cdn.test/a?b=c" in line for line in lines)


def test_ids_in_url_paths_are_not_masked(plain_environment: None, tmp_path: Path) -> None:
    output_id, policy = "out4f1c09aa77", "policy90210abc"
    with EchoingServer(lambda _: http("200 OK", b"film")) as host:
        fetch(lambda: f"{host.url}/{output_id}/film.mp4?policy={policy}", local_destination(tmp_path / "out.mp4"))
    error = MosaicError(f"Output {output_id} is gone, {policy} said.")
    assert str(error) == f"Output {output_id} is gone, *** said."
