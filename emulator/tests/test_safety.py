"""Security: web pages of other sites, other machines, process arguments, files and logs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.asgi.browser_access import browser_rejection
from mosaic_emulator.core.failure_log import FailureLog

from .conftest import Api, Receiver, until
from .test_process import command

OWN_INTERFACE = [
    ("POST", "/_emulator/reset"),
    ("POST", "/_emulator/settings"),
    ("POST", "/_emulator/faults"),
    ("DELETE", "/_emulator/faults"),
    ("GET", "/_emulator/requests"),
    ("GET", "/_emulator/settings"),
    ("GET", "/"),
]


def ask(mosaic: Emulator, method: str, path: str, **headers: str) -> int:
    """Send a request with exactly these headers and return the status."""
    where = urlsplit(mosaic.url)
    line = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    with contextlib.closing(line):
        line.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            line.putheader(name.replace("_", "-"), value)
        line.putheader("Content-Length", "2")
        line.endheaders(b"{}")
        return line.getresponse().status


# Browsers


@pytest.mark.parametrize(("method", "path"), OWN_INTERFACE)
def test_dns_rebinding_is_rejected(mosaic: Emulator, method: str, path: str) -> None:
    port = urlsplit(mosaic.url).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert ask(mosaic, method, path, Host=host) == 403, host
    assert mosaic.settings()["speed"] == 1000


@pytest.mark.parametrize(("method", "path"), OWN_INTERFACE)
def test_other_origin_is_rejected(mosaic: Emulator, method: str, path: str) -> None:
    where = urlsplit(mosaic.url)
    for origin in (
        "https://evil.example",
        "null",
        f"http://127.0.0.1:{(where.port or 0) + 1}",
        f"https://{where.netloc}",
    ):
        assert ask(mosaic, method, path, Host=where.netloc, Origin=origin) == 403, origin
    for site in ("cross-site", "same-site"):
        assert ask(mosaic, method, path, Host=where.netloc, Sec_Fetch_Site=site) == 403, site


@pytest.mark.parametrize(("method", "path"), OWN_INTERFACE)
def test_programs_and_the_page_are_accepted(mosaic: Emulator, method: str, path: str) -> None:
    where = urlsplit(mosaic.url)
    for host in (where.netloc, f"localhost:{where.port}", "127.0.0.1", f"[::1]:{where.port}", "mosaic.localhost"):
        assert ask(mosaic, method, path, Host=host) in (200, 400), host
    own = {"Host": where.netloc, "Origin": mosaic.url, "Sec_Fetch_Site": "same-origin"}
    assert ask(mosaic, method, path, **own) in (200, 400)


def test_followed_link_is_accepted_but_not_an_image() -> None:
    headers = {"host": "127.0.0.1:8765", "sec-fetch-site": "cross-site"}
    assert browser_rejection("GET", {**headers, "sec-fetch-mode": "navigate"}, ()) is None
    assert browser_rejection("POST", {**headers, "sec-fetch-mode": "navigate"}, ()) is not None
    assert browser_rejection("GET", {**headers, "sec-fetch-mode": "no-cors"}, ()) is not None
    framed = {**headers, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert browser_rejection("GET", framed, ()) is not None
    assert browser_rejection("GET", {"host": "mosaic:8765"}, ("mosaic",)) is None


# Other machines


def started(
    tmp_path: Path, *arguments: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    ready = tmp_path / "ready.json"
    with command("--port", "0", "--ready-file", str(ready), *arguments, **variables) as process:
        until(ready.exists, bool, seconds=30)
        yield process, json.loads(ready.read_text())


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])
def test_warning_when_other_machines_can_connect(tmp_path: Path, host: str, warned: bool) -> None:
    for process, ready_info in started(tmp_path, "--host", host):
        httpx.get(f"{ready_info['url']}/_emulator/counts", trust_env=False, timeout=60).raise_for_status()
        process.terminate()
        output = process.communicate(timeout=10)[1]
        assert ("Warning" in output and "no key" in output and host in output) == warned
        assert warned or output == ""


def test_allow_host(tmp_path: Path) -> None:
    for _, ready_info in started(tmp_path, "--allow-host", "Mosaic"):
        get = f"{ready_info['url']}/_emulator/counts"
        assert httpx.get(get, headers={"Host": "mosaic:8765"}, trust_env=False, timeout=60).status_code == 200
        assert httpx.get(get, headers={"Host": "other:8765"}, trust_env=False, timeout=60).status_code == 403


# Process arguments and files

KEY, SECRET, MARK = "mk_only_for_my_eyes", "whsk_only_for_my_eyes", "markofsignatures"


def arguments_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
def test_no_secret_in_process_arguments() -> None:
    with Emulator(api_key=KEY, webhook_secret=SECRET, signature_mark=MARK) as mosaic:
        ready_info = arguments_of(mosaic.pid)
        assert "emulator" in ready_info
        for each in (KEY, SECRET, MARK):
            assert each not in ready_info
        assert mosaic.settings()["webhook_secret"] == SECRET
        headers = {"Authorization": f"Bearer {KEY}"}
        assert httpx.get(f"{mosaic.url}/whoami", headers=headers, trust_env=False, timeout=60).status_code == 200


def test_command_reads_secrets_from_the_environment(tmp_path: Path) -> None:
    variables = {"MOSAIC_EMULATOR_API_KEY": KEY, "MOSAIC_EMULATOR_WEBHOOK_SECRET": SECRET}
    for process, ready_info in started(tmp_path, **variables):
        assert ready_info["api_key"] == KEY
        settings = httpx.get(f"{ready_info['url']}/_emulator/settings", trust_env=False, timeout=60).json()
        assert settings["webhook_secret"] == SECRET
        process.terminate()
        out, errors = process.communicate(timeout=10)
        assert KEY not in out + errors


def test_default_key_is_printed(tmp_path: Path) -> None:
    for process, _ in started(tmp_path):
        process.terminate()
        assert "with API key mk_emulator" in process.communicate(timeout=10)[0]


def test_ready_file_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for _ in started(tmp_path):
            assert stat.S_IMODE((tmp_path / "ready.json").stat().st_mode) == 0o600
    finally:
        os.umask(before)


# Logs

FAILING = """
import sys
from mosaic_emulator.runs import engine
from mosaic_emulator.runs import inputs
from mosaic_emulator import state
from mosaic_emulator.__main__ import main

def fail(self, *args, **kwargs):
    link = self.media.link("assets/x.mp4", 60)
    raise RuntimeError(f"{self.api_key} {self.settings.webhook_secret} {link} {list(self.uploads._by_id.values())}")

state.State.run_json = fail
state.State.run_control_json = fail
state.State._prepare = fail
sys.exit(main())
"""


def test_failure_log_has_no_secrets(tmp_path: Path) -> None:
    ready, program = tmp_path / "ready.json", tmp_path / "failing.py"
    program.write_text(FAILING)
    variables = {"MOSAIC_EMULATOR_API_KEY": KEY, "MOSAIC_EMULATOR_WEBHOOK_SECRET": SECRET}
    process = subprocess.Popen(
        [sys.executable, str(program), "--port", "0", "--ready-file", str(ready), "--speed", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    try:
        until(ready.exists, bool, seconds=30)
        ready_info = json.loads(ready.read_text())
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=ready_info["url"], headers=headers, trust_env=False, timeout=60) as client:
            form = client.post("/uploads/video/get_upload_url").json()
            agents = client.get("/agents").json()["agents"]
            agent = next(each for each in agents if each["name"] == "Shorts maker")["id"]
            run_id = client.post(f"/agent/{agent}/run", json={"video_urls": ["https://x.example/a.mp4"]}).json()[
                "run_id"
            ]
            response = client.get(f"/agent_run/{run_id}")
            assert (response.status_code, response.json()) == (500, {"detail": "The emulator failed: RuntimeError"})
            assert client.get("/_emulator/runs").status_code == 500
            page = client.get("/").text
            until(lambda: client.get("/").text, lambda text: "The emulator failed: RuntimeError" in text)
    finally:
        process.terminate()
        out, errors = process.communicate(timeout=10)
    assert errors.count("RuntimeError: ") >= 3, errors
    for secret in (KEY, SECRET, "X-Goog-Signature", form["upload_fields"]["x-goog-signature"]):
        assert secret not in out + errors + page


def test_masking_keeps_other_text() -> None:
    mask = FailureLog(["abc", "abcdef"]).mask
    assert mask("run 1 abcdef http://127.0.0.1:1/a?X-Goog-Signature=12&x=y mk_other 'z'") == (
        "run 1 *** http://127.0.0.1:1/a?*** *** 'z'"
    )


# Downloads of videos


class Sender(ThreadingHTTPServer):
    """A server that sends a video with a given size and speed, or a redirect."""

    daemon_threads = True

    def __init__(self) -> None:
        self.location: str | None = None
        self.length: int | None = None
        self.size, self.pause, self.sent = 0, 0.0, 0
        sender = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if sender.location is not None:
                    self.send_response(302)
                    self.send_header("Location", sender.location)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                if sender.length is not None:
                    self.send_header("Content-Length", str(sender.length))
                self.end_headers()
                with contextlib.suppress(OSError):
                    while sender.sent < sender.size:
                        self.wfile.write(b"x" * 1024)
                        sender.sent += 1024
                        time.sleep(sender.pause)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/secret-name.mp4?token=secret"


@pytest.fixture
def sender() -> Iterator[Sender]:
    with Sender() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def message_of(api: Api, url: str) -> str:
    run = api.end(api.start({"video_urls": [url]}))
    assert run["status"] == "failed"
    assert "token" not in run["status_message"]
    return str(run["status_message"])


def test_too_large_video_is_not_downloaded(api: Api, sender: Sender) -> None:
    api.mosaic.configure(fetch_bytes=64 << 10)
    sender.length = sender.size = 1 << 30
    assert "limit of 65536 bytes" in message_of(api, sender.url)
    assert sender.sent < 32 << 20


def test_too_large_video_without_content_length(api: Api, sender: Sender) -> None:
    api.mosaic.configure(fetch_bytes=64 << 10)
    sender.size = 1 << 30
    assert "limit of 65536 bytes" in message_of(api, sender.url)
    assert sender.sent < 32 << 20


def test_slow_video_times_out(api: Api, sender: Sender) -> None:
    api.mosaic.configure(fetch_seconds=0.3)
    sender.size, sender.pause = 1 << 20, 0.02
    started_at = time.monotonic()
    assert "0.3 seconds" in message_of(api, sender.url)
    assert time.monotonic() - started_at < 15


def test_silent_host_times_out(api: Api) -> None:
    api.mosaic.configure(fetch_seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "0.3 seconds" in message_of(api, f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://192.0.2.1/a.mp4", "another machine"),
        ("https://evil.example/a.mp4", "another machine"),
        ("//evil.example/a.mp4", "another machine"),
        ("ftp://127.0.0.1/a", "could not be downloaded"),
        ("http://127.0.0.1:99999/", "could not be downloaded"),
    ],
)
def test_redirect_to_another_machine_is_not_followed(api: Api, sender: Sender, location: str, words: str) -> None:
    sender.location = location
    assert words in message_of(api, sender.url)


def test_redirect_limit(api: Api, sender: Sender) -> None:
    sender.location = sender.url
    assert "redirects more than 5 times" in message_of(api, sender.url)


def test_failed_download_leaves_no_file(api: Api, sender: Sender, tmp_path: Path) -> None:
    sender.size = 1 << 30
    with Emulator(speed=1000, render="passthrough", fetch_bytes=4096, directory=tmp_path) as mosaic:
        with contextlib.closing(Api(mosaic)) as own:
            message_of(own, sender.url)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_webhooks_follow_no_redirect(api: Api, receiver: Receiver, sender: Sender) -> None:
    receiver.responses = [302] * 50
    api.mosaic.configure(webhook_retries=0)
    api.end(api.start({"video_urls": ["https://x.example/a.mp4"], "callback_url": receiver.url}))
    until(api.mosaic.counts, lambda counts: counts.webhooks_failed > 0)
    assert sender.sent == 0
