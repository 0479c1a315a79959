"""
Receive Mosaic's webhooks in Airflow's API server.

A webhook is a hint that a run has ended. The receiver uses nothing else in it and creates no asset event. It writes the
time to an Airflow Variable, and the triggers of :func:`~airflow_provider_mosaic.assets.finished_runs` then read the
runs. A webhook that is repeated, late, replayed or forged can therefore only cause a poll.

A request is authenticated before its body is read: by the token in its path and by its signature. Lookups of
connections, writes, and the size of a body are limited.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.api.webhooks import read_event, signature_fits
from airflow_provider_mosaic.triggers.webhook_hints import hint_variable, write_hint
from airflow_provider_mosaic.webhook_address import is_receivable, path_token, webhooks_are_on

log = logging.getLogger(__name__)

#: Bytes of the longest body. The event of a run with thousands of outputs may be longer: the next poll finds that run.
_MAX_BODY = 1 << 20
#: Seconds for the whole body.
_BODY_TIMEOUT = 30.0
#: Seconds for which the secret of a connection is kept, and for which an unknown connection is not looked up again.
_SECRET_LIFETIME = 30.0
#: Seconds until the next lookup after one that failed.
_LOOKUP_PAUSE = 5.0
#: Seconds for which the last secret of a connection is used while its lookups fail.
_OUTAGE = 600.0
#: Lookups of all unknown connections: how many at once, and how many a second.
_LOOKUPS = (20, 5.0)
#: Webhooks of one connection, likewise.
_WEBHOOKS = (200, 50.0)
#: Least seconds between two writes for a connection, in one process.
_WRITE_INTERVAL = 1.0
#: Least seconds between two log lines about rejected webhooks.
_LOG_INTERVAL = 60.0


class _TokenBucket:
    """A rate limit: ``burst`` at once, and ``rate`` a second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._tokens, self._filled_at = float(burst), time.monotonic()

    def _tokens_now(self) -> float:
        return min(self._burst, self._tokens + (time.monotonic() - self._filled_at) * self._rate)

    @property
    def is_empty(self) -> bool:
        """Whether there is no token now."""
        return self._tokens_now() < 1.0

    def take(self) -> bool:
        """Take a token, and return whether there was one."""
        if self.is_empty:
            return False
        self._tokens, self._filled_at = self._tokens_now() - 1.0, time.monotonic()
        return True


class _Unavailable(Exception):  # noqa: N818 - its name says what a connection is
    """A connection cannot be looked up now."""


class _WebhookSecrets:
    """
    The webhook secrets of connections, kept for a short time.

    :param warn: Logs a warning: its text and the values.
    """

    def __init__(self, warn: Callable[..., None]) -> None:
        self._warn = warn
        #: What :meth:`get` returns, and until when. None if the connection could not be read.
        self._entries: dict[str, tuple[str | None, float]] = {}
        #: The connections that had a secret: what the last successful lookup returned, and when.
        self._known: dict[str, tuple[str, float]] = {}
        self._lookups: dict[str, asyncio.Task[str | None]] = {}
        self._limit = _TokenBucket(*_LOOKUPS)

    @property
    def is_limited(self) -> bool:
        """Whether connections that are not known are not looked up now: there were too many of them."""
        return self._limit.is_empty

    async def get(self, conn_id: str) -> str:
        """
        Return the secret of a connection; empty if it receives no webhooks.

        :raises _Unavailable: The lookup failed, or there were too many lookups.
        """
        secret, expires_at = self._entries.get(conn_id, (None, 0.0))
        if time.monotonic() >= expires_at:
            lookup = self._lookups.get(conn_id)
            if lookup is None:
                # A known connection is looked up again although requests with invented ids use up the limit.
                if conn_id not in self._known and not self._limit.take():
                    raise _Unavailable
                lookup = self._lookups[conn_id] = asyncio.create_task(self._look_up(conn_id))
            secret = await asyncio.shield(lookup)
        if secret is None:
            raise _Unavailable
        return secret

    async def _look_up(self, conn_id: str) -> str | None:
        secret: str | None
        try:
            secret = await asyncio.to_thread(_read_secret, conn_id)
            lifetime = _SECRET_LIFETIME
            if secret or conn_id in self._known:
                self._known[conn_id] = (secret, time.monotonic())
        except Exception as error:
            secret = self._after_failure(conn_id, error)
            lifetime = _SECRET_LIFETIME if secret == "" else _LOOKUP_PAUSE
        finally:
            del self._lookups[conn_id]
        now = time.monotonic()
        self._entries = {each: entry for each, entry in self._entries.items() if now < entry[1]}
        self._entries[conn_id] = (secret, now + lifetime)
        return secret

    def _after_failure(self, conn_id: str, error: Exception) -> str | None:
        """
        Return the secret to use after a failed lookup: empty if there is no such connection, None if that is unknown.

        Airflow reports an outage of its database or of a secrets backend like a connection that does not exist. A
        connection that had a secret is therefore not taken for deleted at once.
        """
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        known, read_at = self._known.get(conn_id, ("", 0.0))
        is_recent = bool(known) and time.monotonic() < read_at + _OUTAGE
        if not is_recent and isinstance(error, AirflowNotFoundException):
            return ""
        # The text of the error may contain the connection.
        self._warn(
            "The lookup of connection %r failed (%s). %s.",
            conn_id,
            type(error).__name__,
            "Its last webhook secret is used" if is_recent else "Its webhooks get status 503",
        )
        return known if is_recent else None


def _read_secret(conn_id: str) -> str:
    """
    Return the webhook secret of a connection; an empty text if it has none.

    :raises AirflowNotFoundException: Airflow found no such connection.
    """
    from airflow_provider_mosaic.hooks.connection import read_webhook_secret
    from airflow_provider_mosaic.hooks.server_hook import ServerHook

    return read_webhook_secret(ServerHook.get_connection(conn_id))


class _HintWriter:
    """Write hints, at most one a second for each connection. Hints between two writes share the next one."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._written_at: dict[str, float] = {}

    async def write(self, conn_id: str) -> None:
        """Return once a hint is written that is not older than this call."""
        write = self._waiting.get(conn_id)
        if write is None:
            write = self._waiting[conn_id] = asyncio.create_task(self._write(conn_id))
        await asyncio.shield(write)

    async def _write(self, conn_id: str) -> None:
        try:
            await asyncio.sleep(self._written_at.get(conn_id, 0.0) + _WRITE_INTERVAL - time.monotonic())
        finally:
            del self._waiting[conn_id]
        self._written_at[conn_id] = time.monotonic()
        await asyncio.to_thread(write_hint, conn_id, datetime.now(timezone.utc))


class WebhookReceiver:
    """The receiver of one process of the API server."""

    def __init__(self) -> None:
        self._secrets = _WebhookSecrets(self._log)
        self._hints = _HintWriter()
        self._limits: dict[str, _TokenBucket] = {}
        self._logged_at = float("-inf")
        #: Compared for unknown connections, so that a response takes as long as for known ones.
        self._no_secret = secrets.token_hex()

    async def receive(
        self,
        conn_id: str,
        token: str,
        request: Request,
        x_mosaic_signature: Annotated[str | None, Header()] = None,
    ) -> str:
        """
        Receive a webhook.

        Responses: 200 also for events that are ignored; 404 while webhooks are switched off; 401 for an unknown
        connection, a wrong token or a wrong signature; 429 for too many webhooks; 408, 413 and 400 for a body that is
        too slow, too long or no event; 503 if the connection cannot be read or the hint cannot be written, and instead
        of 401 while lookups of unknown connections are limited.
        """
        if not webhooks_are_on():
            raise HTTPException(404, headers={"Connection": "close"})
        try:
            is_authentic = await self._is_authentic(conn_id, token, x_mosaic_signature)
        except _Unavailable:
            raise HTTPException(503, headers={"Connection": "close"}) from None
        if not is_authentic:
            # A 401 for known connections alone would tell a stranger who uses up the lookups which exist.
            raise HTTPException(503 if self._secrets.is_limited else 401, headers={"Connection": "close"})
        if not self._limits.setdefault(conn_id, _TokenBucket(*_WEBHOOKS)).take():
            raise HTTPException(429, headers={"Connection": "close", "Retry-After": "5"})
        body = await _read_body(request)
        try:
            event = await asyncio.to_thread(read_event, body)
        except MosaicResponseError:
            raise HTTPException(400) from None
        if event.flag != "RUN_FINISHED":
            return "ignored"
        try:
            await self._hints.write(conn_id)
        except Exception as error:
            why = one_line(str(error), longest=300)
            self._log("The hint of a webhook was not written to Variable %s: %s", hint_variable(conn_id), why)
            raise HTTPException(503) from None
        return "accepted"

    async def _is_authentic(self, conn_id: str, token: str, signature: str | None) -> bool:
        secret = await self._secrets.get(conn_id) if is_receivable(conn_id) else ""
        expected = secret or self._no_secret
        has_token = hmac.compare_digest(token.encode("utf-8", "replace"), path_token(expected, conn_id).encode())
        has_signature = signature_fits(signature, expected)
        is_authentic = bool(secret) and has_token and has_signature
        if secret and not is_authentic:
            wrong = "signature" if has_token else "address"
            self._log("A webhook for connection %r was rejected: its %s is wrong.", conn_id, wrong)
        return is_authentic

    def _log(self, text: str, *values: object) -> None:
        """Log a warning, unless there was one in the last minute."""
        if time.monotonic() > self._logged_at + _LOG_INTERVAL:
            self._logged_at = time.monotonic()
            log.warning(text, *values)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        with anyio.fail_after(_BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY:
                    # Closing the connection stops the server from reading the rest.
                    raise HTTPException(413, headers={"Connection": "close"})
    except TimeoutError:
        raise HTTPException(408, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        # The sender is gone and reads no response. Without one, the server would log a traceback.
        raise HTTPException(400) from None
    return bytes(body)


class _SecretPathRoute(APIRoute):
    """A route whose token does not appear in the access log, which is written after the response."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, also one with another method."""
        scope["path"] = scope["path"].removesuffix(scope["path_params"]["token"]) + "token"
        await super().handle(scope, receive, send)


def create_router() -> APIRouter:
    """Return the routes of the receiver."""
    router = APIRouter(route_class=_SecretPathRoute, include_in_schema=False)
    # A token may have slashes: FastAPI would redirect a path with a slash at its end, and log it with the token.
    router.add_api_route("/webhooks/{conn_id}/{token:path}", WebhookReceiver().receive, methods=["POST"])
    return router
