"""The emulator's process: starts and stops the API's server and the storage host."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from mosaic_emulator.asgi.fault_middleware import FaultMiddleware
from mosaic_emulator.core.connection_faults import with_transport
from mosaic_emulator.core.failure_log import FailureLog
from mosaic_emulator.settings import Settings
from mosaic_emulator.state import State
from mosaic_emulator.storage_host.server import StorageServer

GRACE = 1.0
DEFAULT_API_KEY = "mk_emulator"


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of :func:`serve`."""

    host: str
    #: Further host names of the control interface.
    allowed_hosts: tuple[str, ...] = ()
    port: int
    storage_port: int
    directory: Path
    api_key: str
    settings: Settings
    ready_file: Path | None
    #: Stop when standard input closes, which also happens when the parent is killed.
    end_with_parent: bool


class ApiServer(uvicorn.Server):
    """Uvicorn without signal handlers, which would wait for requests that hang."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


def serve(options: ServerOptions) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(_serve(options))


async def _serve(options: ServerOptions) -> None:
    listening = _listen(options.host, options.port)
    state = State(settings=options.settings, api_key=options.api_key, directory=options.directory)
    storage = StorageServer(address=(options.host, options.storage_port), state=state)
    url = _url(options.host, listening.getsockname()[1])
    state.media.base_url = _url(options.host, storage.server_port)
    failures = FailureLog((options.api_key, options.settings.webhook_secret, options.settings.signature_mark))
    asyncio.get_running_loop().set_exception_handler(failures.handle_loop_exception)
    middleware = FaultMiddleware(state=state, own_names=(options.host, *options.allowed_hosts), failures=failures)
    server = ApiServer(_uvicorn_config(middleware))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if options.end_with_parent:
        threading.Thread(target=_watch_parent, args=(loop, stopping), daemon=True).start()
    threading.Thread(target=storage.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    _announce(options, url)
    await asyncio.wait({serving, asyncio.create_task(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
    middleware.close()
    state.engine.reset()
    state.post_publisher.tasks.cancel_all()
    state.avatars.reset()
    await state.webhooks.close()
    server.should_exit = server.force_exit = True
    await asyncio.wait({serving}, timeout=GRACE)
    storage.stop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit protocol asyncio disables Nagle's algorithm, which would delay each response by 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    # The kernel accepts connections from here on. They are served when the server runs.
    listening.listen(4096)
    return listening


def _url(host: str, port: int) -> str:
    # A server on all interfaces is reachable at the loopback address.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _uvicorn_config(middleware: FaultMiddleware) -> uvicorn.Config:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol  # type: ignore[assignment]
    return uvicorn.Config(
        middleware,
        http=with_transport(Protocol),
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        # FaultMiddleware sends the header, with the setting clock_skew.
        date_header=False,
        server_header=False,
        timeout_keep_alive=75,
        backlog=4096,
    )


def _announce(options: ServerOptions, url: str) -> None:
    if options.ready_file is not None:
        payload = {"url": url, "api_key": options.api_key, "pid": os.getpid(), "directory": str(options.directory)}
        text = json.dumps(payload)
        draft = options.ready_file.with_name(f".{options.ready_file.name}.{os.getpid()}")
        # Contains the API key, so only the owner can read it.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(options.ready_file)
    # A key that the user chose may be a real one.
    key = f"with API key {DEFAULT_API_KEY}" if options.api_key == DEFAULT_API_KEY else "with your API key"
    sys.stdout.write(f"Mosaic emulator at {url} {key}. Open the URL in a browser to see its state.\n")
    sys.stdout.flush()
    if not is_loopback_address(options.host):
        sys.stderr.write(
            f"Warning: the emulator listens on {options.host}, so other machines can reach it. Its control interface "
            "under /_emulator needs no key. Any client that reaches it can read and change everything. "
            "Restrict access with a firewall or a container network, or use --host 127.0.0.1.\n"
        )
        sys.stderr.flush()


def is_loopback_address(host: str) -> bool:
    """Return whether an address is reachable from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _watch_parent(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stopping.set)
