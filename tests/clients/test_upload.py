from __future__ import annotations

import io
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from urllib3.util import wait_for_read

from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.clients import stall_timeout
from airflow_provider_mosaic.clients.sources import Source, local_source
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.clients.upload import finalize

from .authorities import Authority
from .on_loopback import send_form
from .servers import HostileServer, Listener, Reply, answer, hang_up, reset, silence
from .storage_endpoints import EXPIRED, TOO_LARGE, CountingHost, HastyHost, raw
from .transports import access_to

pytestmark = pytest.mark.usefixtures("plain_environment")

FIELDS = {
    "key": "org/6f/ü pload",
    "x-goog-date": "20260701T182500Z",
    "policy": "eyJ=",
    "x-goog-signature": "9af1c0ffee",
}


SIGNATURE = "cafe" * 200


def form_for(url: str, *, most: int | None = 5 * 1024**3, **more: str) -> UploadForm:
    return UploadForm(asset_id="a1", upload_url=url, upload_fields=FIELDS | more, max_file_size_bytes=most)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "cut.mp4"
    path.write_bytes(bytes(range(256)) * 20_000)
    return path


def source_of(stream: Callable[[], Any], size: int) -> Source:
    return Source(
        name="cut.mp4", size=size, stamp="1", open=lambda: cast("BinaryIO", stream()), shown="s3://bucket/cut.mp4"
    )


def parts_of(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Parse the parts with Python's mail parser."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    parts = cast("list[Any]", message.get_payload())
    return [
        (
            dict(part.get_params(header="content-disposition")[1:]) | {"type": part.get("content-type", "")},
            part.get_payload(decode=True),
        )
        for part in parts
    ]


def test_form_fields_are_verbatim_and_in_order(tmp_path: Path) -> None:
    content = b"no line ends in here \x00\xff" * 5000
    path = tmp_path / "cut.mp4"
    path.write_bytes(content)
    with HostileServer(answer(204)) as host:
        send_form(form_for(f"{host.url}/bucket/?sig=1"), local_source(path), "video/mp4")
    (request,) = host.seen
    assert (request.method, request.target) == ("POST", "/bucket/?sig=1")
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers
    parts = parts_of(request.headers["content-type"], request.body)
    assert [headers["name"] for headers, _ in parts] == [*FIELDS, "file"]
    assert [body.decode() for _, body in parts[:-1]] == list(FIELDS.values())
    assert parts[-1][0] == {"name": "file", "filename": "cut.mp4", "type": "video/mp4"}
    assert parts[-1][1] == content


def test_upload_sends_no_credentials(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with HostileServer(answer(204)) as host:
        send_form(form_for(host.url), local_source(video), "video/mp4")
    assert not {"authorization", "cookie", "x-workspace-id"} & set(host.seen[0].headers)
    assert host.seen[0].headers["user-agent"].startswith("airflow-provider-mosaic/")


@pytest.mark.parametrize("name", ['a"b.mp4', "a\r\nX-Evil: 1.mp4", "Zürich 東京.mp4"])
def test_file_names_are_escaped(tmp_path: Path, name: str) -> None:
    source = source_of(lambda: io.BytesIO(b"x"), 1)
    source = Source(name=name, size=1, stamp="1", open=source.open, shown="x")
    with HostileServer(answer(204)) as host:
        send_form(form_for(host.url), source, "video/mp4")
    head = host.seen[0].body.decode().rpartition("\r\n\r\nx")[0].rpartition("--mosaic-")[2]
    written = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    assert f'filename="{written}"\r\nContent-Type: video/mp4' in head


@pytest.mark.parametrize("status", [200, 201, 204])
def test_2xx_is_success(video: Path, status: int) -> None:
    with HostileServer(answer(status)) as host:
        send_form(form_for(host.url), local_source(video), "video/mp4")
    assert host.count == 1


def test_oversized_file_is_rejected_before_sending(video: Path) -> None:
    with HostileServer(answer(204)) as host, pytest.raises(MosaicValidationError) as caught:
        send_form(form_for(host.url, most=2_000_000), local_source(video), "video/mp4")
    assert host.count == 0
    for pattern in ("source=", "cut.mp4", "4.9 MB", "5,120,000 bytes", "1.9 MB", "2,000,000 bytes"):
        assert pattern in str(caught.value)
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("status", "body", "kind", "transient"),
    [
        (400, TOO_LARGE, MosaicValidationError, False),
        (413, b"", MosaicValidationError, False),
        (400, EXPIRED, MosaicPermissionError, True),
        (403, EXPIRED, MosaicPermissionError, True),
        (404, b"", MosaicPermissionError, True),
        (400, b"<Error><Code>RequestTimeout</Code></Error>", MosaicServerError, True),
        (400, b"<Error><Code>EntityTooSmall</Code></Error>", MosaicValidationError, False),
        (405, b"", MosaicValidationError, False),
        (429, b"", MosaicRateLimitError, True),
        (500, b"<html>secret-field</html>", MosaicServerError, True),
        (503, b"<Error><Code>SlowDown</Code>", MosaicServerError, True),
    ],
)
def test_rejections_contain_only_code_and_message(
    video: Path, status: int, body: bytes, kind: type[MosaicError], transient: bool
) -> None:
    with HostileServer(answer(status, body, Retry_After="7")) as host, pytest.raises(MosaicError) as caught:
        send_form(form_for(f"{host.url}/?X-Goog-Signature={SIGNATURE}"), local_source(video), "video/mp4")
    error = caught.value
    assert type(error) is kind
    assert error.transient is transient
    text = str(error) + repr(error) + repr(error.detail)
    code = re.search(rb"<Code>(\w+)", body)
    assert not code or code[1].decode() in text
    for secret in ("secret-field", "deadbeef", "cafe", *FIELDS.values(), "X-Goog"):
        assert secret not in text
    assert error.retry_after in (None, 7.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_upload_follows_no_redirects(video: Path, status: int) -> None:
    with HostileServer(answer(204)) as elsewhere:
        with (
            HostileServer(answer(status, Location=f"{elsewhere.url}/x?y=secret")) as host,
            pytest.raises(MosaicResponseError, match="points to") as caught,
        ):
            send_form(form_for(host.url), local_source(video), "video/mp4")
        assert elsewhere.count == 0
    assert elsewhere.url in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<Error><Code>InternalError</Code></Error>", "InternalError"),
        (b'{"error": "the disk is full"}', "the disk is full"),
        (b'{"status": 500, "error": {"code": 500, "message": "the disk is full"}}', "the disk is full"),
        (b'{"errors": [{"message": "the disk is full"}]}', "the disk is full"),
        (b'{"success": false, "message": "the disk is full"}', "the disk is full"),
        (b'{"success": false}', "success"),
    ],
)
def test_error_with_a_status_of_success_fails_the_upload(video: Path, status: int, body: bytes, shown: str) -> None:
    with HostileServer(answer(status, body)) as host, pytest.raises(MosaicServerError, match=shown) as caught:
        send_form(form_for(host.url), local_source(video), "video/mp4")
    assert caught.value.transient


@pytest.mark.parametrize(
    "body",
    [
        b"<PostResponse><Location>https://b.test/k</Location><Bucket>b</Bucket><Key>k</Key></PostResponse>",
        b'{"status": "ok", "message": "saved", "code": 0}',
        b'{"success": true, "error": null, "errors": []}',
        b'{"error": false}',
        b'["error"]',
        b'"error"',
        b'{"error": "cut off',
        b"[" * 60_000,
        b'{"error": ' + b"[" * 400 + b"1" + b"]" * 400 + b"}",
        b'{"error": ' + b"9" * 5_000 + b"}",
        b"saved",
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_success_with_a_body_is_success(video: Path, status: int, body: bytes) -> None:
    with HostileServer(answer(status, body)) as host:
        send_form(form_for(host.url), local_source(video), "video/mp4")


@pytest.mark.parametrize(
    ("status", "body"), [(200, b""), (200, b" \r\n"), (200, b"<PostResponse/>"), (201, b""), (204, b"")]
)
def test_media_type_of_a_web_page_without_a_page_is_success(video: Path, status: int, body: bytes) -> None:
    # Google's storage sends this with an empty body.
    with HostileServer(answer(status, body, Content_Type="text/html; charset=UTF-8")) as host:
        send_form(form_for(host.url), local_source(video), "video/mp4")
    assert host.count == 1


def test_error_in_json_contains_no_secret_of_the_form(video: Path) -> None:
    body = b'{"error": "no such policy eyJ=, key org/6f/x, at https://store.test/?X-Goog-Signature=deadbeef"}'
    with HostileServer(answer(200, body)) as host, pytest.raises(MosaicServerError, match="no such policy") as caught:
        send_form(form_for(host.url), local_source(video), "video/mp4")
    for secret in ("eyJ=", "deadbeef"):
        assert secret not in str(caught.value) + repr(caught.value.detail)


@pytest.mark.parametrize(
    "body", [b"<!-- login --><html>", b"<?xml version='1.0'?><!DOCTYPE html>", b"<script>location='/login'</script>"]
)
def test_page_that_is_known_by_its_media_type_fails_the_upload(video: Path, body: bytes) -> None:
    with (
        HostileServer(answer(200, body, Content_Type="text/html")) as host,
        pytest.raises(MosaicResponseError, match="returned an HTML page"),
    ):
        send_form(form_for(host.url), local_source(video), "video/mp4")


@pytest.mark.parametrize("body", [b"<html>please log in</html>", b"\r\n<!DOCTYPE html>log in", b"<head></head>log in"])
@pytest.mark.parametrize("media_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_login_page_fails_the_upload(video: Path, body: bytes, media_type: str) -> None:
    page = answer(200, body, Content_Type=media_type)
    with HostileServer(page) as host, pytest.raises(MosaicResponseError, match="HTML"):
        send_form(form_for(host.url), local_source(video), "video/mp4")


@pytest.mark.parametrize("reply", [reset, hang_up, silence])
def test_connection_errors_are_transient_and_name_only_the_host(video: Path, reply: Any) -> None:
    with HostileServer(reply) as host, pytest.raises(MosaicTransportError) as caught:
        send_form(form_for(f"{host.url}/?X-Goog-Signature={SIGNATURE}"), local_source(video), "video/mp4", timeout=0.3)
    assert caught.value.transient
    assert host.url in str(caught.value)
    assert "cafe" not in str(caught.value)


def test_unreachable_host_is_transient(video: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(MosaicTransportError, match="could not be reached") as caught:
        send_form(form_for(f"http://127.0.0.1:{port}/?sig={SIGNATURE}"), local_source(video), "video/mp4")
    assert caught.value.transient
    assert "cafe" not in str(caught.value)


@pytest.mark.parametrize("hangs_up", [True, False])
def test_early_rejection_is_read(tmp_path: Path, hangs_up: bool) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    text = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(TOO_LARGE) + TOO_LARGE
    with HastyHost(text, hangs_up=hangs_up) as host, pytest.raises(MosaicValidationError, match="EntityTooLarge"):
        send_form(form_for(host.url), local_source(large), "video/mp4", send_timeout=5, timeout=5)


@pytest.mark.parametrize("status", [b"204 No Content", b"303 See Other\r\nLocation: /done"], ids=["204", "303"])
def test_early_success_is_a_failure(tmp_path: Path, status: bytes) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    with (
        HastyHost(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n", hangs_up=False) as host,
        pytest.raises(MosaicResponseError, match="before it had the whole file") as caught,
    ):
        send_form(
            form_for(host.url, redirect="https://app.test/done"),
            local_source(large),
            "video/mp4",
            send_timeout=5,
            timeout=5,
        )
    assert caught.value.transient


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["100", "102", "103"],
)
def test_interim_response_does_not_end_the_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interim: bytes
) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    with CountingHost(interim=interim) as host:
        send_form(form_for(host.url), local_source(large), "video/mp4", send_timeout=5, timeout=20)
    assert host.taken == host.announced

    def send_after_the_response(sock: socket.socket, *args: Any) -> None:
        wait_for_read(sock, 20)
        send_all(sock, *args)

    send_all = stall_timeout._send_all
    monkeypatch.setattr(stall_timeout, "_send_all", send_after_the_response)
    with (
        HastyHost(interim + b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", hangs_up=False) as hasty,
        pytest.raises(MosaicValidationError, match="413"),
    ):
        send_form(form_for(hasty.url), local_source(large), "video/mp4", send_timeout=0.5, timeout=20)


def test_stalled_upload_times_out(tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    with HastyHost(b"", hangs_up=False) as host, pytest.raises(MosaicTransportError, match="in time"):
        send_form(form_for(host.url), local_source(large), "video/mp4", send_timeout=0.3)


class SlowHost(Listener):
    """Reads a form in small blocks, for longer than the connect timeout."""

    def serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        left = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        pause = threading.Event()
        while left:
            pause.wait(0.004)
            left -= len(connection.recv(min(left, 16 * 1024)))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_slow_upload_succeeds(tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as stream:
        stream.truncate(8 * 1024 * 1024)
    with SlowHost() as host:
        send_form(form_for(host.url), local_source(large), "video/mp4", connect_timeout=0.2, send_timeout=5)


@pytest.mark.parametrize(("real", "pattern"), [(400_000, "ended"), (600_000, "more than"), (0, "ended")])
def test_changed_source_is_never_sent_completely(real: int, pattern: str) -> None:
    source = source_of(lambda: io.BytesIO(b"x" * real), 500_000)
    with CountingHost() as host:
        with pytest.raises(MosaicValidationError, match=pattern) as caught:
            send_form(form_for(host.url), source, "video/mp4")
        assert host.over.wait(30)
    assert host.taken < host.announced
    assert "s3://bucket/cut.mp4" in str(caught.value)
    assert caught.value.transient


def test_shrunken_file_fails(video: Path) -> None:
    source = local_source(video)
    video.write_bytes(b"short")
    with CountingHost() as host, pytest.raises(MosaicValidationError, match="changed while it was being sent"):
        send_form(form_for(host.url), source, "video/mp4")


class Failing(io.BytesIO):
    closed_by_us = 0

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(5, "Input/output error at https://x.test/?sig=cafe")

    def close(self) -> None:
        Failing.closed_by_us += 1
        super().close()


def test_read_errors_name_the_source() -> None:
    with (
        HostileServer(answer(204)) as host,
        pytest.raises(MosaicTransportError, match=r"source='s3://bucket") as caught,
    ):
        send_form(form_for(host.url), source_of(Failing, 500), "video/mp4")
    assert "Input/output error" in str(caught.value)
    assert "cafe" not in str(caught.value)
    assert Failing.closed_by_us


def test_end_of_the_upload_is_logged(video: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with HostileServer(answer(204)) as host:
        send_form(form_for(host.url), local_source(video), "video/mp4")
    assert [message.partition(" in ")[0] for message in caplog.messages] == ["cut.mp4: 4.9 MB"]


def test_https_upload_checks_the_certificate(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    context: ssl.SSLContext = authority.server_context("127.0.0.1")
    with HostileServer(answer(204), tls=context) as host:
        url = host.url.replace("http:", "https:")
        with pytest.raises(MosaicTransportError, match="certificate"):
            send_form(form_for(url), local_source(video), "video/mp4")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        send_form(form_for(url), local_source(video), "video/mp4")
    (request,) = host.seen
    assert parts_of(request.headers["content-type"], request.body)[-1][1] == video.read_bytes()


def test_upload_uses_the_proxy(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(answer(204)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        send_form(form_for("http://storage.test/bucket"), local_source(video), "video/mp4")
    assert proxy.seen[0].target == "http://storage.test/bucket"


def test_upload_response_that_is_not_http_fails(video: Path) -> None:
    with HostileServer(raw(b"SSH-2.0-OpenSSH\r\n")) as host, pytest.raises(MosaicTransportError):
        send_form(form_for(host.url), local_source(video), "video/mp4")


IN_A_CHILD = """
import sys
from pathlib import Path
from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.file_links import LinkPolicy
from airflow_provider_mosaic.clients.sources import local_source
from airflow_provider_mosaic.clients.upload import send_form

def status(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])

form = UploadForm(asset_id="a", upload_url=sys.argv[1], upload_fields={"key": "k"})
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
send_form(form, local_source(sys.argv[2]), "video/mp4", policy=LinkPolicy(loopback=True))
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process its peak memory")
def test_large_upload_uses_little_memory(tmp_path: Path) -> None:
    size = 256 * 1024 * 1024
    large = tmp_path / "large.mp4"
    with large.open("wb") as stream:
        stream.truncate(size)
    with CountingHost() as host:
        child = subprocess.run(
            [sys.executable, "-c", IN_A_CHILD, host.url, str(large)], capture_output=True, text=True, check=False
        )
    assert child.returncode == 0, child.stderr
    assert host.taken == host.announced > size
    assert int(child.stdout) <= 8 * 1024


@pytest.mark.parametrize("location", ["https://app.test/done?bucket=b&key=k&etag=e", "/done", None])
@pytest.mark.parametrize("body", [b"", b"<html>See other</html>"])
@pytest.mark.parametrize("field", ["success_action_redirect", "redirect"])
def test_303_that_the_form_asks_for_is_success_and_not_followed(
    video: Path, location: str | None, body: bytes, field: str
) -> None:
    more = {"Content_Type": "text/html", **({"Location": location} if location else {})}
    with HostileServer(answer(303, body, **more)) as host:
        send_form(form_for(host.url, **{field: "https://app.test/done"}), local_source(video), "video/mp4")
    assert host.count == 1


# Finalizing

FINALIZE, VIEW = "/uploads/video/finalize_upload", "/uploads/get_view_url"
#: A success of both.
DONE = answer(200, {"video_id": "video-1", "signed_url": "https://cdn.example.org/a.mp4"})


def requests_of_finalize(*script: Reply, **options: Any) -> list[str]:
    """Finalize an asset, and return the paths of the requests."""
    options.setdefault("sleep", lambda seconds: None)
    with HostileServer(*script) as server, SyncClient(access_to(server.url), sleep=lambda seconds: None) as client:
        assert finalize(client, AssetType.VIDEO, "video-1", **options) == "video-1"
        return [request.target for request in server.seen]


@pytest.mark.parametrize("status", [400, 404])
def test_rejected_first_finalize_is_repeated_although_the_asset_has_a_link(status: int) -> None:
    # A link may be signed without an asset.
    assert requests_of_finalize(answer(status), DONE)[:2] == [FINALIZE, FINALIZE]


def test_rejected_finalize_after_one_without_effect_is_repeated() -> None:
    assert requests_of_finalize(answer(429), answer(404), DONE)[:3] == [FINALIZE] * 3


@pytest.mark.parametrize("conflict", [answer(409), answer(200, {"error": {"code": 409, "message": "in use"}})])
def test_conflict_at_the_first_finalize_fails(conflict: Reply) -> None:
    with pytest.raises(MosaicConflictError):
        requests_of_finalize(conflict, DONE)


@pytest.mark.parametrize("status", [400, 404, 409])
@pytest.mark.parametrize("lost", [hang_up, answer(502)], ids=["lost response", "502"])
def test_rejected_finalize_after_an_unknown_outcome_is_checked(status: int, lost: Reply) -> None:
    assert requests_of_finalize(lost, answer(status), DONE) == [FINALIZE, FINALIZE, VIEW]


@pytest.mark.parametrize("status", [400, 404, 409])
def test_rejected_finalize_after_an_earlier_attempt_is_checked(status: int) -> None:
    assert requests_of_finalize(answer(status), DONE, may_be_finalized=True) == [FINALIZE, VIEW]


#: Refusals with a status of success: without a code, and with codes that count as 400, 404 and 409.
REFUSALS = [
    {"success": False, "detail": "already finalized"},
    {"success": False, "error": "validation_error"},
    {"success": False, "error": "not_found"},
    {"success": False, "error": {"code": 409, "message": "already finalized"}},
]


@pytest.mark.parametrize("body", REFUSALS)
@pytest.mark.parametrize("lost", [hang_up, answer(504)], ids=["lost response", "504"])
def test_refusal_in_2xx_after_an_unknown_outcome_is_checked(body: Any, lost: Reply) -> None:
    assert requests_of_finalize(lost, answer(200, body), DONE) == [FINALIZE, FINALIZE, VIEW]
    assert requests_of_finalize(answer(200, body), DONE, may_be_finalized=True) == [FINALIZE, VIEW]


@pytest.mark.parametrize("body", REFUSALS[:-1])
def test_refusal_in_2xx_of_the_first_finalize_is_repeated_although_the_asset_has_a_link(body: Any) -> None:
    assert requests_of_finalize(answer(200, body), DONE)[:2] == [FINALIZE, FINALIZE]


@pytest.mark.parametrize("lag", [answer(404), answer(400), *(answer(200, body) for body in REFUSALS[:-1])])
def test_asset_that_appears_late_is_waited_for(lag: Reply) -> None:
    pauses: list[float] = []
    requests = requests_of_finalize(DONE, lag, lag, DONE, sleep=pauses.append)
    assert requests == [FINALIZE, VIEW, VIEW, VIEW]
    assert pauses == [1.0, 2.0]


def test_asset_that_does_not_appear_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pauses: list[float] = []
    assert requests_of_finalize(DONE, answer(404), sleep=pauses.append).count(FINALIZE) == 1
    assert sum(pauses) == 15.0
    assert "may not find it yet" in caplog.text


@pytest.mark.parametrize(
    "reply",
    [answer(500), answer(429), answer(403), answer(200, {"success": False, "error": "forbidden"}), hang_up],
    ids=["500", "429", "403", "403 in a 2xx", "lost"],
)
def test_failed_check_of_a_finalized_asset_changes_nothing(reply: Reply) -> None:
    pauses: list[float] = []
    assert requests_of_finalize(DONE, reply, sleep=pauses.append) == [FINALIZE, VIEW]
    assert pauses == []
