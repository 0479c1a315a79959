"""The storage host: a separate HTTP server for upload forms and for downloads by signed link."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from mosaic_emulator.core.connection_faults import NO_LINGER
from mosaic_emulator.core.faults import Fault
from mosaic_emulator.core.request_log import ReceivedRequest, log_entry
from mosaic_emulator.media import BUCKET, UPLOAD_BUCKET, StoredObject
from mosaic_emulator.state import State
from mosaic_emulator.storage_host.request_bodies import (
    Body,
    ChunkedBody,
    ClientDisconnectedError,
    ResetConnectionError,
    ResettingBody,
    SizedBody,
    drain,
)
from mosaic_emulator.storage_host.upload_forms import StorageError, UploadFormHandler

FORM_PATH: Final = f"/{UPLOAD_BUCKET}/"
MEDIA_PREFIX: Final = f"/{BUCKET}/"
MEDIA_TEMPLATE: Final = f"/{BUCKET}/{{object}}"
NO_ROUTE: Final = "(no route)"
HTML: Final = b"<!DOCTYPE html><html><body><h1>Service Unavailable</h1></body></html>\n"
ERROR_FAULTS: Final = {
    "not_found": (404, "NoSuchKey", "The specified key does not exist."),
    "unauthorized": (401, "AuthenticationRequired", "Authentication required."),
    "forbidden": (403, "AccessDenied", "Access denied."),
}
CHUNK_SIZE: Final = 1 << 20


class CloseConnectionError(Exception):
    """Close the connection without a response."""


class StorageServer(ThreadingHTTPServer):
    """A server with one thread per connection. Downloads use sendfile."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, *, address: tuple[str, int], state: State) -> None:
        self.state = state
        self.closing = threading.Event()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, StorageHandler)

    def server_bind(self) -> None:
        """Bind without a DNS lookup of the host name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of clients that disconnect."""

    def stop(self) -> None:
        """Stop listening and release requests that hang."""
        self.closing.set()
        self.shutdown()
        self.server_close()


class StorageHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection."""

    protocol_version = "HTTP/1.1"
    # Otherwise a short body, which is a second write, waits for the acknowledgement of the header.
    disable_nagle_algorithm = True
    server: StorageServer
    _entry: ReceivedRequest
    _body: Body

    # All methods are handled alike: counted, logged, and subject to faults.

    def do_GET(self) -> None:
        """Handle a request."""
        self._handle()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def _handle(self) -> None:
        state = self.server.state
        parts = urlsplit(self.path)
        template = NO_ROUTE
        if parts.path == FORM_PATH:
            template = FORM_PATH
        elif parts.path.startswith(MEDIA_PREFIX):
            template = MEDIA_TEMPLATE
        self._entry = log_entry(
            host="storage",
            method=self.command,
            path=parts.path,
            template=template,
            query=parts.query,
            headers=self.headers.items(),
        )
        state.counters.request(self.command, template)
        state.log.add(self._entry)
        if self._entry.authorization:
            state.counters.add("key_leaks")
        fault = state.faults.take(self.command, parts.path, template)
        if fault is not None:
            self._entry.fault = fault.kind
            state.counters.fault(fault.kind)
        try:
            self._body = self._open_body(fault)
            self._serve(parts.path, parts.query, template, fault)
        except StorageError as error:
            self._send_error(error.status, error.code, error.message)
        except ResetConnectionError:
            self._reset()
        except (CloseConnectionError, ClientDisconnectedError, OSError):
            self.close_connection = True
        finally:
            if self._entry.seconds is None:
                self._entry.finish(None)

    def _open_body(self, fault: Fault | None) -> Body:
        body: Body
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = ChunkedBody(self.rfile)
        else:
            length = self.headers.get("Content-Length") or "0"
            if not re.fullmatch(r"[0-9]{1,18}", length):
                self._body = SizedBody(self.rfile, 0)
                self.close_connection = True
                raise StorageError(400, "InvalidArgument", "The Content-Length is not valid.")
            body = SizedBody(self.rfile, int(length))
        after = fault.option("after_bytes") if fault is not None and fault.kind == "reset" else None
        return body if after is None else ResettingBody(body, after)

    def _serve(self, path: str, query: str, template: str, fault: Fault | None) -> None:
        state = self.server.state
        if fault is not None and fault.option("after_bytes") is None:
            self._apply_before(fault)
        if self._entry.authorization:
            message = "Only one auth mechanism allowed; the request carries an Authorization header"
            raise StorageError(400, "InvalidArgument", message)
        if template == MEDIA_TEMPLATE and self.command in ("GET", "HEAD"):
            self._download(path, query, fault)
            return
        if template != FORM_PATH:
            raise StorageError(404, "NoSuchKey", "The specified key does not exist.")
        if self.command != "POST":
            raise StorageError(403, "AccessDenied", f"The form takes a POST, not {self.command}")
        self._receive_form(fault)
        if fault is not None:
            self._apply_after(fault)
        status = state.settings.upload_success_status
        if status == 204:
            # Google's storage sends a media type without a body.
            self._respond(status, b"", headers={"Content-Type": "text/html; charset=UTF-8"})
        else:
            self._respond(status, b"<PostResponse/>", "application/xml")

    def _receive_form(self, fault: Fault | None) -> None:
        state = self.server.state
        chunked = isinstance(self._body, ChunkedBody)
        if chunked and state.settings.chunked_upload == "refuse":
            raise StorageError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        self._entry.form_fields = []
        handler = UploadFormHandler(state=state, field_names=self._entry.form_fields)
        expired = fault is not None and fault.kind == "expired_form"
        handler.receive(self._body, self.headers.get("Content-Type", ""), expired=expired)

    # Faults

    def _apply_before(self, fault: Fault) -> None:
        kind, when = fault.kind, fault.option("when", "before")
        if kind == "reset" and when == "before":
            raise ResetConnectionError
        if kind == "hang" and when == "before":
            self._hang(fault)
        elif kind in ERROR_FAULTS:
            raise StorageError(*ERROR_FAULTS[kind])
        elif kind == "redirect":
            self.close_connection = True
            location = str(fault.option("location", f"{self.server.state.media.base_url}/redirected{self.path}"))
            self._respond_after_draining(
                lambda: self._respond(fault.option("status", 307), b"", headers={"Location": location})
            )
            raise CloseConnectionError
        elif kind == "rate_limit" or (kind == "server_error" and not fault.option("effect", False)):
            self._respond_after_draining(lambda: self._respond_with_fault(fault))
            raise CloseConnectionError

    def _apply_after(self, fault: Fault) -> None:
        if fault.kind == "response_lost":
            raise CloseConnectionError
        if fault.kind == "reset":
            raise ResetConnectionError
        if fault.kind == "hang":
            self._hang(fault)
        if fault.kind == "server_error":
            self._respond_with_fault(fault)
            raise CloseConnectionError

    def _hang(self, fault: Fault) -> None:
        seconds = fault.option("seconds")
        if self.server.closing.wait(seconds) or seconds is None:
            raise CloseConnectionError

    def _respond_with_fault(self, fault: Fault) -> None:
        self.close_connection = True
        status = 429 if fault.kind == "rate_limit" else fault.option("status", 500)
        headers = fault.retry_after(self.server.state.clock.now())
        if fault.option("body") == "html":
            self._respond(status, HTML, "text/html", headers)
        else:
            self._respond(
                status, _xml("InternalError", "We encountered an internal error."), "application/xml", headers
            )

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        # close() would leave the socket open, since the handler's files refer to it.
        os.close(self.connection.detach())

    # Downloads

    def _download(self, path: str, query: str, fault: Fault | None) -> None:
        state = self.server.state
        link_state = state.media.check_link(path, query)
        if fault is not None and fault.kind == "expired_link":
            self._expired(fault.option("status", state.settings.expired_link_status))
            return
        if link_state == "expired":
            self._expired(state.settings.expired_link_status)
            return
        if link_state == "unsigned":
            raise StorageError(403, "AccessDenied", "Anonymous caller does not have storage.objects.get access.")
        if link_state == "bad":
            raise StorageError(403, "SignatureDoesNotMatch", "Access denied.")
        stored = state.media.get(unquote(path[len(MEDIA_PREFIX) :]))
        if stored is None:
            raise StorageError(404, "NoSuchKey", "The specified key does not exist.")
        self._send_object(stored, fault)

    def _expired(self, status: int) -> None:
        codes = {400: "ExpiredToken", 401: "AuthenticationRequired", 404: "NoSuchKey"}
        self._send_error(status, codes.get(status, "AccessDenied"), "Invalid argument. The link has expired.")

    def _send_object(self, stored: StoredObject, fault: Fault | None) -> None:
        settings = self.server.state.settings
        start, length, status = 0, stored.size, 200
        headers = {"Content-Type": stored.content_type, "ETag": stored.etag}
        if settings.ranges:
            headers["Accept-Ranges"] = "bytes"
            byte_range = self._range(stored)
            if byte_range == "unsatisfiable":
                self._send_error(416, "InvalidRange", "The requested range cannot be satisfied.")
                return
            if isinstance(byte_range, tuple):
                start, length, status = byte_range[0], byte_range[1] - byte_range[0] + 1, 206
                headers["Content-Range"] = f"bytes {byte_range[0]}-{byte_range[1]}/{stored.size}"
        mode = settings.download_length
        if mode == "present":
            headers["Content-Length"] = str(length)
        elif mode == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Connection"] = "close"
            self.close_connection = True
        self.send_response_only(status)
        for name, value in {**headers, "Date": self.server.state.clock.http_date()}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            self._entry.finish(status)
            return
        sent = self._send_bytes(stored, start, length, chunked=mode == "chunked", fault=fault)
        self.server.state.counters.add("bytes_served", sent)
        self._entry.finish(status)
        if sent == length:
            self.server.state.counters.add("downloads")

    def _send_bytes(self, stored: StoredObject, start: int, length: int, *, chunked: bool, fault: Fault | None) -> int:
        limit, pause, chunk_size = length, 0.0, CHUNK_SIZE
        if fault is not None and fault.kind == "cut_body":
            limit = int(length * fault.option("fraction", 0.5))
        if fault is not None and fault.kind == "slow_body":
            chunks = fault.option("pieces", 10)
            pause, chunk_size = fault.option("seconds", 2.0) / chunks, max(-(-length // chunks), 1)
        with stored.path.open("rb") as file:
            if not chunked and not pause:
                sent = self.connection.sendfile(file, start, limit) if limit else 0
            else:
                file.seek(start)
                sent = 0
                while sent < limit:
                    chunk = file.read(min(chunk_size, limit - sent))
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    sent += len(chunk)
                    if pause:
                        time.sleep(pause)
        if limit < length:
            if fault is not None and fault.option("reset", False):
                raise ResetConnectionError
            raise CloseConnectionError
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        return sent

    def _range(self, stored: StoredObject) -> tuple[int, int] | str | None:
        """Return the first and the last byte of the requested range."""
        found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", self.headers.get("Range", "").strip())
        if found is None or found[0] == "bytes=-" or self.headers.get("If-Range", stored.etag) != stored.etag:
            return None
        if not found[1]:
            first, last = max(stored.size - int(found[2]), 0), stored.size - 1
        else:
            first, last = int(found[1]), min(int(found[2] or stored.size - 1), stored.size - 1)
        return (first, last) if first <= last else "unsatisfiable"

    # Responses

    def _send_error(self, status: int, code: str, message: str) -> None:
        self._respond_after_draining(
            lambda: self._respond(status, _xml(code, message), "application/xml; charset=UTF-8")
        )

    def _respond_after_draining(self, respond: Callable[[], None]) -> None:
        """Respond after reading the body, so that the client is not interrupted while it sends."""
        if self.server.state.settings.refuse_early:
            self.close_connection = True
            respond()
            return
        try:
            drain(self._body)
        except (ClientDisconnectedError, OSError, ValueError):
            self.close_connection = True
        respond()

    def _respond(
        self, status: int, body: bytes, content_type: str = "text/plain", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.server.state.clock.http_date())
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body and status != 204 and self.command != "HEAD":
            self.wfile.write(body)
        self._entry.finish(status)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the request log contains all requests."""


def _xml(code: str, message: str) -> bytes:
    return (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{escape(code)}</Code>"
        f"<Message>{escape(message)}</Message></Error>"
    ).encode()
