"""The emulator as a child process of a test or a tool, and its control interface."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from mosaic_emulator.core.counters import Counts

#: The agent "Shorts maker"; the same in every emulator.
DEFAULT_AGENT_ID = "a0000000-0000-4000-8000-000000000001"


class EmulatorError(RuntimeError):
    """The emulator did not start, is not running, or rejected a request."""


class Emulator:
    """
    A local emulator of the Mosaic API in a child process, on a free port of 127.0.0.1.

    ::

        with Emulator(speed=100) as mosaic:
            ...  # mosaic.url, mosaic.api_key, mosaic.agent_id

    :param directory: Where to store files. By default a temporary directory.
    :param speed: Divides all durations of runs and posts.
    :param start_timeout: Seconds to wait for the process to accept requests.
    :param settings: Settings by name. See ``docs/emulator.md``.
    """

    def __init__(
        self,
        *,
        directory: str | os.PathLike[str] | None = None,
        speed: float = 1.0,
        api_key: str = "mk_emulator",
        start_timeout: float = 60.0,
        **settings: Any,
    ) -> None:
        if directory is not None and not isinstance(directory, (str, os.PathLike)):
            raise TypeError(f"directory={directory!r} is not a path")
        if not isinstance(api_key, str) or not api_key.strip():
            raise ValueError(f"api_key={api_key!r} is not a non-empty string")
        if isinstance(start_timeout, bool) or not isinstance(start_timeout, (int, float)) or not start_timeout > 0:
            raise ValueError(f"start_timeout={start_timeout!r} is not a positive number of seconds")
        self._directory = Path(directory) if directory is not None else None
        self._settings = {"speed": speed, **settings}
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._temporary: Path | None = None
        self.api_key = api_key
        self.url = ""
        self.agent_id = DEFAULT_AGENT_ID

    # Process

    def start(self) -> Emulator:
        """
        Start the process and wait until it accepts requests.

        :raises ValueError: If a setting is invalid.
        """
        if self._process is not None:
            raise EmulatorError("The emulator is already running.")
        command = [sys.executable, "-m", "mosaic_emulator", "--port", "0", "--from-parent"]
        # Not in the arguments, which any user of the machine can read.
        payload = json.dumps({"api_key": self.api_key, "settings": self._settings})
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
            command += ["--directory", str(self._directory)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with tempfile.TemporaryDirectory(prefix="mosaic-ready-") as directory:
            ready = Path(directory) / "ready.json"
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                [*command, "--ready-file", str(ready)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
            try:
                self._send_first_line(payload)
                info = self._wait_until_ready(ready)
                self.url = info["url"]
                if self._directory is None:
                    self._temporary = Path(info["directory"])
            except BaseException:
                self.kill()
                raise
        return self

    def _send_first_line(self, line: str) -> None:
        assert self._process is not None  # noqa: S101 - just started
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        # If the process has ended, _wait_until_ready reports why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def _wait_until_ready(self, ready: Path) -> dict[str, Any]:
        assert self._process is not None  # noqa: S101 - just started
        deadline = time.monotonic() + self._start_timeout
        while not ready.exists():
            code = self._process.poll()
            if code is not None:
                text = self._stderr_text()
                raise ValueError(text) if code == 2 else EmulatorError(f"The emulator did not start: {text}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"The emulator did not start within {self._start_timeout:.0f} seconds")
            time.sleep(0.01)
        response: dict[str, Any] = json.loads(ready.read_text())
        return response

    def _stderr_text(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2000:]

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise EmulatorError("The emulator is not running.")
        return self._process.pid

    def stop(self) -> None:
        """Stop the process, even if requests hang. Do nothing if it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """Kill the process. Its state is lost."""
        if self._process is None:
            return
        self._process.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None  # noqa: S101 - checked by the callers
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._errors is not None:
            self._errors.close()
        if self._temporary is not None:
            # A killed process does not remove its directory.
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._process = self._errors = self._temporary = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # State

    def airflow_connection(self) -> str:
        """Return the JSON text for ``AIRFLOW_CONN_MOSAIC_DEFAULT``."""
        return json.dumps({"conn_type": "mosaic", "host": self.url, "password": self.api_key})

    def counts(self) -> Counts:
        """Return the counters since the start or the last reset."""
        return Counts.from_json(self._control("GET", "counts"))

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs, oldest first."""
        return self._list("runs")

    def posts(self) -> list[dict[str, Any]]:
        """Return all social posts, oldest first."""
        return self._list("posts")

    def agents(self) -> list[dict[str, Any]]:
        """Return all agents with their nodes and connections, oldest first."""
        return self._list("agents")

    def uploads(self) -> list[dict[str, Any]]:
        """Return all uploads, oldest first."""
        return self._list("uploads")

    def requests(self) -> list[dict[str, Any]]:
        """Return the received requests, oldest first. Signatures in queries are masked."""
        return self._list("requests")

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that can still occur, in the order of their injection."""
        return self._list("faults")

    def settings(self) -> dict[str, Any]:
        """Return the current settings."""
        response: dict[str, Any] = self._control("GET", "settings")
        return response

    # Control

    def configure(self, **settings: Any) -> None:
        """
        Change settings. If any is invalid, none is changed.

        :raises ValueError: If a name or a value is invalid.
        """
        self._control("POST", "settings", settings)

    def inject(
        self,
        kind: str,
        *,
        method: str = "*",
        path: str = "*",
        times: int | None = 1,
        skip: int = 0,
        probability: float = 1.0,
        **options: Any,
    ) -> None:
        """
        Inject a fault into future requests.

        :param kind: The kind of fault. See ``docs/emulator.md``.
        :param method: HTTP method of the requests.
        :param path: A path template of the API (``/agent/{agent_id}/run``), or a glob of the path.
        :param times: Number of requests that get the fault. None for no limit.
        :param skip: Number of matching requests to let pass first.
        :param probability: Probability that a matching request gets the fault.
        :param options: Options of the kind.
        :raises ValueError: If the kind or an option is unknown.
        """
        self._control(
            "POST",
            "faults",
            {
                "kind": kind,
                "method": method,
                "path": path,
                "times": times,
                "skip": skip,
                "probability": probability,
                "options": options,
            },
        )

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._control("DELETE", "faults")

    def reset(self) -> None:
        """Reset state, settings, faults, counters and the request log."""
        self._control("POST", "reset")

    def finish_run(
        self,
        run_id: str,
        status: str = "completed",
        *,
        message: str | None = None,
        needs_credits: bool = False,
        failed: list[str] | tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """
        Finish a run now.

        :param status: The run's status. Any text is accepted.
        :param message: The run's ``status_message``.
        :param needs_credits: Whether the failed nodes need credits.
        :param failed: Ids or type names of the nodes that fail. By default the last one, if the run fails.
        :returns: The run.
        """
        body = {"status": status, "message": message, "needs_credits": needs_credits, "failed": list(failed)}
        response: dict[str, Any] = self._control("POST", f"runs/{run_id}/finish", body)
        return response

    def forget_run(self, run_id: str) -> None:
        """Delete a run, so that the API responds 404."""
        self._control("DELETE", f"runs/{run_id}")

    def fire_trigger(self, trigger_id: str, **event: Any) -> dict[str, Any] | None:
        """
        Fire a trigger.

        :param trigger_id: A YouTube trigger of an agent, or a storage trigger.
        :param event: ``channel_id``, ``video_id``, ``video_title``, ``video_url`` and ``seconds`` of a video, or
            ``file_names``. Missing values get defaults.
        :returns: The started run, or None if the trigger's filter excludes the video or its run already exists.
        :raises LookupError: If the trigger does not exist.
        """
        response: dict[str, Any] | None = self._control("POST", f"triggers/{trigger_id}/fire", event)
        return response

    def link_account(self, connect_url: str) -> dict[str, Any] | None:
        """
        Connect an account, as a user does in the browser.

        :param connect_url: The link from ``POST /social/connections``.
        :returns: The connection, or None if the link redirects to another page.
        :raises LookupError: If the link is used or unknown.
        """
        response: dict[str, Any] | None = self._control("GET", f"connect/{connect_url.rpartition('/')[2]}")
        return response

    def pay_checkout(self, checkout_url: str) -> None:
        """
        Pay a checkout, as a user does in the browser.

        :param checkout_url: The link from ``POST /plan/upgrade``.
        :raises LookupError: If the checkout is paid or unknown.
        """
        self._control("GET", f"checkout/{checkout_url.rpartition('/')[2]}")

    def expire_links(self) -> None:
        """Expire all signed links created so far."""
        self._control("POST", "expire_links")

    def _list(self, name: str) -> list[dict[str, Any]]:
        response: list[dict[str, Any]] = self._control("GET", name)
        return response

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        if self._process is None:
            raise EmulatorError("The emulator is not running.")
        address = urlsplit(self.url)
        # http.client ignores the proxies of the environment.
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        try:
            connection.request(
                method,
                f"/_emulator/{path}",
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            data = json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException) as error:
            raise EmulatorError(f"The emulator cannot be reached: {error}") from error
        finally:
            connection.close()
        if response.status == 400:
            raise ValueError(data["detail"])
        if response.status == 404:
            raise LookupError(data["detail"])
        if response.status not in (200, 303):
            raise EmulatorError(f"The emulator answered {response.status}: {data}")
        return data
