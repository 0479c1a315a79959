from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from mosaic_emulator import Counts, Emulator
from mosaic_emulator.process import EmulatorError

from .conftest import Api, until

MODULE = [sys.executable, "-m", "mosaic_emulator"]


@contextlib.contextmanager
def command(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*MODULE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_its_url_and_stops(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready.json"
    directory = tmp_path / "kept"
    options = ["--port", "0", "--ready-file", str(ready), "--directory", str(directory), "--api-key", "mk_other"]
    with command(*options, "--set", "hold_runs=true", "--set", "whoami=user", "--speed", "3") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready_info = json.loads(ready.read_text())
        assert ready_info["pid"] == process.pid
        assert ready_info["api_key"] == "mk_other"
        assert ready_info["url"] in line
        assert "mk_other" not in line
        headers = {"Authorization": "Bearer mk_other"}
        with httpx.Client(base_url=ready_info["url"], headers=headers, trust_env=False) as client:
            assert "user_id" in client.get("/whoami").json()
            settings = client.get("/_emulator/settings").json()
            assert (settings["hold_runs"], settings["speed"]) == (True, 3)
            client.post("/_emulator/faults", json={"kind": "hang", "times": None})
            where = urlsplit(ready_info["url"])
            with socket.create_connection((where.hostname, where.port)) as hanging:
                hanging.sendall(b"GET /agents HTTP/1.1\r\nHost: x\r\n\r\n")
                until(lambda: client.get("/_emulator/counts").json()["faults_used"], bool)
                process.send_signal(number)
                assert process.wait(timeout=30) == 0
        assert directory.is_dir()


def test_ready_file_is_written_atomically(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with command("--port", "0", "--ready-file", str(ready)) as process:
        until(ready.exists, bool, seconds=30)
        assert json.loads(ready.read_text())["pid"] == process.pid
        assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--set", "sped=3"], "sped"),
        (["--set", "speed=fast"], "speed"),
        (["--set", "speed"], "NAME=VALUE"),
        (["--speed", "0"], "speed"),
        (["--port", "70000"], "'70000' is not a port"),
        (["--storage-port", "-1"], "'-1' is not a port"),
    ],
)
def test_wrong_option_is_an_error(arguments: list[str], output: str) -> None:
    done = subprocess.run([*MODULE, "--port", "0", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert output in done.stderr
    assert "Traceback" not in done.stderr


def test_used_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*MODULE, "--port", port], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"could not start on 127.0.0.1, port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_listens_on_loopback_only(mosaic: Emulator) -> None:
    assert urlsplit(mosaic.url).hostname == "127.0.0.1"


def test_process_starts_and_stops(tmp_path: Path) -> None:
    mosaic = Emulator(directory=tmp_path / "there", render="tiny", credits=5, failing_nodes={"Captions": "no"})
    with pytest.raises(EmulatorError, match="not running"):
        mosaic.counts()
    with mosaic:
        pid = mosaic.pid
        assert mosaic.settings()["failing_nodes"] == {"Captions": "no"}
        assert mosaic.counts() == Counts()
        assert json.loads(mosaic.airflow_connection()) == {
            "conn_type": "mosaic",
            "host": mosaic.url,
            "password": mosaic.api_key,
        }
        with contextlib.closing(Api(mosaic)) as api:
            api.upload()
        assert Path(mosaic.uploads()[0]["path"]).is_relative_to(tmp_path)
        mosaic.configure(credits=None, render="passthrough")
        mosaic.reset()
        assert (mosaic.settings()["credits"], mosaic.settings()["render"]) == (5, "tiny")
    mosaic.stop()
    assert not alive(pid)


def test_invalid_setting_raises(mosaic: Emulator) -> None:
    with pytest.raises(ValueError, match="sped"), Emulator(sped=3):
        pass
    with pytest.raises(ValueError, match="sped"):
        mosaic.configure(speed=2, sped=3)
    # Nothing is changed.
    assert mosaic.settings()["speed"] == 1000
    with pytest.raises(LookupError):
        mosaic.finish_run("none")


def test_kill() -> None:
    with Emulator() as mosaic:
        pid = mosaic.pid
        with contextlib.closing(Api(mosaic)) as api:
            api.upload()
        stored = Path(mosaic.uploads()[0]["path"])
        assert stored.exists()
        mosaic.kill()
        assert not alive(pid)
        assert not stored.exists()


def test_process_ends_with_its_parent() -> None:
    text = (
        "import os, sys, time\n"
        "from mosaic_emulator import Emulator\n"
        "mosaic = Emulator().start()\n"
        "print(mosaic.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    until(lambda: alive(pid), lambda living: not living)


def test_reset(api: Api) -> None:
    api.mosaic.configure(hold_runs=True, whoami="user")
    api.start()
    api.post("/social/post", {"post": "x", "platforms": ["x"]})
    api.mosaic.inject("forbidden", times=None)
    api.get("/whoami")
    api.mosaic.reset()
    assert api.mosaic.counts() == Counts()
    assert (api.mosaic.runs(), api.mosaic.posts(), api.mosaic.uploads(), api.mosaic.requests()) == ([], [], [], [])
    assert "organization_id" in api.get("/whoami").json()


def test_request_log_has_no_key(api: Api) -> None:
    api.start()
    text = json.dumps(api.mosaic.requests())
    assert api.mosaic.api_key not in text
    first = api.mosaic.requests()[0]
    assert first["authorization"] is True
    assert "authorization" in first["header_names"]
    assert first["headers"]["user-agent"].startswith("python-httpx")
    assert (first["method"], first["status"], first["host"]) == ("POST", 200, "api")


def test_many_concurrent_clients(mosaic: Emulator) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {mosaic.api_key}"}) as client:
            statuses.extend(client.get(f"{mosaic.url}/agents").status_code for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 200
    assert mosaic.counts().requests == {"GET /agents": 200}


def test_import_loads_no_server() -> None:
    # A fake pytest, so that only the package's own imports are measured.
    text = """
import sys, types
sys.modules["pytest"] = types.SimpleNamespace(fixture=lambda f=None, **k: f or (lambda g: g))
import mosaic_emulator, mosaic_emulator.pytest_plugin
heavy = {"fastapi", "uvicorn", "starlette", "pydantic", "httpx", "airflow", "asyncio", "imageio_ffmpeg"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
