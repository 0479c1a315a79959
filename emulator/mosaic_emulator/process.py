"""The emulator as a child process of a test or a tool, and its controls."""

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
    """The emulator did not start, has gone, or refuses what it was told."""


class Emulator:
    """
    A local Mosaic in a process of its own, on a free port of 127.0.0.1.

    ::

        with Emulator(speed=100) as mosaic:
            ...  # mosaic.url, mosaic.api_key, mosaic.agent_id

    :param directory: where its files are kept; without, in one that goes with it.
    :param speed: how much faster than life runs and posts go.
    :param settings: switches by name, see ``docs/emulator.md``.
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
            raise TypeError(f"directory={directory!r}: it must be a path")
        if not isinstance(api_key, str) or not api_key.strip():
            raise ValueError(f"api_key={api_key!r}: it must be text with something in it")
        if isinstance(start_timeout, bool) or not isinstance(start_timeout, (int, float)) or not start_timeout > 0:
            raise ValueError(f"start_timeout={start_timeout!r}: it must be a number of seconds")
        self._directory = Path(directory) if directory is not None else None
        self._settings = {"speed": speed, **settings}
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._temporary: Path | None = None
        self.api_key = api_key
        self.url = ""
        self.agent_id = DEFAULT_AGENT_ID

    # Life

    def start(self) -> Emulator:
        """
        Start the process and wait until it takes requests.

        :raises ValueError: when a setting is not known.
        """
        if self._process is not None:
            raise EmulatorError("The emulator has been started already")
        command = [sys.executable, "-m", "mosaic_emulator", "--port", "0", "--from-parent"]
        # Not in the arguments, which everybody on the machine can read.
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
        # A process that has ended already says why where it is waited for.
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
            raise EmulatorError("The emulator is not running")
        return self._process.pid

    def stop(self) -> None:
        """End the process, also when requests hang. Stopping twice is harmless."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End the process the hard way; what it knew is gone."""
        if self._process is None:
            return
        self._process.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None  # noqa: S101 - asked by those who looked
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._errors is not None:
            self._errors.close()
        if self._temporary is not None:
            # The process removes it, unless it was killed.
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._process = self._errors = self._temporary = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What is asked of it

    def airflow_connection(self) -> str:
        """Return the JSON text for ``AIRFLOW_CONN_MOSAIC_DEFAULT``."""
        return json.dumps({"conn_type": "mosaic", "host": self.url, "password": self.api_key})

    def counts(self) -> Counts:
        """Return what it received and did since its start or its last reset."""
        return Counts.from_json(self._control("GET", "counts"))

    def runs(self) -> list[dict[str, Any]]:
        """Return every run, oldest first."""
        return self._list("runs")

    def posts(self) -> list[dict[str, Any]]:
        """Return every social post, oldest first."""
        return self._list("posts")

    def agents(self) -> list[dict[str, Any]]:
        """Return every agent with its nodes and connections, oldest first."""
        return self._list("agents")

    def uploads(self) -> list[dict[str, Any]]:
        """Return every upload, oldest first."""
        return self._list("uploads")

    def requests(self) -> list[dict[str, Any]]:
        """Return the received requests, oldest first."""
        return self._list("requests")

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that may still take place, in the order of their injection."""
        return self._list("faults")

    def settings(self) -> dict[str, Any]:
        """Return the settings as they are."""
        response: dict[str, Any] = self._control("GET", "settings")
        return response

    # What is told to it

    def configure(self, **settings: Any) -> None:
        """
        Change settings from now on, all or none.

        :raises ValueError: when a name or a value is not known.
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
        Let requests meet a fault.

        :param kind: which, see ``docs/emulator.md``.
        :param method: the method it is for.
        :param path: a path template of the API (``/agent/{agent_id}/run``) or a glob on the path.
        :param times: how many requests meet it; none means for ever.
        :param skip: how many fitting requests pass before.
        :param probability: with which chance a fitting request meets it.
        :param options: of that kind.
        :raises ValueError: when the kind or an option is not known.
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
        """Forget the faults that have not taken place."""
        self._control("DELETE", "faults")

    def reset(self) -> None:
        """Go back to the start: state, settings, faults, counts, log."""
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
        End a run by hand, now.

        :param status: how; any text will do.
        :param message: its ``status_message``.
        :param needs_credits: whether the failed nodes are short of credits.
        :param failed: ids or type names of the nodes that fail; without, the last one of a run that ends badly.
        :return: the run.
        """
        body = {"status": status, "message": message, "needs_credits": needs_credits, "failed": list(failed)}
        response: dict[str, Any] = self._control("POST", f"runs/{run_id}/finish", body)
        return response

    def forget_run(self, run_id: str) -> None:
        """Make a run unknown, as if it had been deleted."""
        self._control("DELETE", f"runs/{run_id}")

    def fire_trigger(self, trigger_id: str, **arrival: Any) -> dict[str, Any] | None:
        """
        Let a video, or files, arrive at a trigger.

        :param trigger_id: a YouTube trigger of an agent, or one of the storage triggers.
        :param arrival: ``channel_id``, ``video_id``, ``video_title``, ``video_url`` and ``seconds`` of the video, or
            ``file_names``; what is not said is made up.
        :return: the run that it began; none where the trigger does not want it, or has begun one for it already.
        :raises LookupError: when there is no such trigger.
        """
        response: dict[str, Any] | None = self._control("POST", f"triggers/{trigger_id}/fire", arrival)
        return response

    def link_account(self, connect_url: str) -> dict[str, Any] | None:
        """
        Do what a human does behind a link for connecting an account.

        :param connect_url: as the API handed it out.
        :return: the connection; none where the link leads on to another page.
        :raises LookupError: when the link is used or unknown.
        """
        response: dict[str, Any] | None = self._control("GET", f"connect/{connect_url.rpartition('/')[2]}")
        return response

    def pay_checkout(self, checkout_url: str) -> None:
        """
        Do what a human does in a checkout for a plan.

        :param checkout_url: as the API handed it out.
        :raises LookupError: when it is paid or unknown.
        """
        self._control("GET", f"checkout/{checkout_url.rpartition('/')[2]}")

    def expire_links(self) -> None:
        """Make every signed link that was handed out until now an expired one."""
        self._control("POST", "expire_links")

    def _list(self, what: str) -> list[dict[str, Any]]:
        response: list[dict[str, Any]] = self._control("GET", what)
        return response

    def _control(self, method: str, what: str, body: Any = None) -> Any:
        if self._process is None:
            raise EmulatorError("The emulator is not running")
        where = urlsplit(self.url)
        # Straight to the socket: no proxy of the environment stands between a test and its emulator.
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        try:
            connection.request(
                method,
                f"/_emulator/{what}",
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            data = json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException) as error:
            raise EmulatorError(f"The emulator can't be reached: {error}") from error
        finally:
            connection.close()
        if response.status == 400:
            raise ValueError(data["detail"])
        if response.status == 404:
            raise LookupError(data["detail"])
        if response.status not in (200, 303):
            raise EmulatorError(f"The emulator answered {response.status}: {data}")
        return data
