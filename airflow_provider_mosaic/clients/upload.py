"""The middle step of an upload: the bytes go to the storage host in the form that Mosaic signed, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import NoReturn, cast

import requests

from airflow_provider_mosaic.api.access import USER_AGENT
from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.link_policy import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.redaction import remember_signed
from airflow_provider_mosaic.clients.library_logs import hiding
from airflow_provider_mosaic.clients.multipart_frame import MultipartFrame, multipart_frame
from airflow_provider_mosaic.clients.progress import Progress, ProgressLines, size_words
from airflow_provider_mosaic.clients.signed_urls import (
    TRANSFER_ERRORS,
    check_on_web,
    file_info,
    forbidden,
    joined,
    origin,
    transfer_error,
)
from airflow_provider_mosaic.clients.sources import Source, blocks
from airflow_provider_mosaic.clients.storage_responses import Refusal, refusal_in
from airflow_provider_mosaic.clients.storage_session import ForbiddenLink, open_storage_session

#: The form is no good (any more): another one may be.
_FORM_REFUSED = frozenset({400, 401, 403, 404, 410, 412})
_WRONG_SIZE = frozenset({"EntityTooLarge", "EntityTooSmall"})
# S3 answers a line that was too slow for it with 400 and this code.
_SERVERS_FAULT = frozenset({"RequestTimeout", "InternalError", "ServiceUnavailable", "SlowDown"})


def send_form(
    form: UploadForm,
    source: Source,
    media_type: str,
    *,
    policy: LinkPolicy = PUBLIC,
    connect_timeout: float = 10.0,
    standstill: float = 60.0,
    timeout: float = 300.0,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """
    Send a source's bytes to the storage host, once.

    A transfer that breaks cannot be resumed: start it again with a fresh form. Every error for which that may help
    is :attr:`MosaicError.transient`; a :class:`MosaicPermissionError` among them says that this form was refused.

    :param form: The signed form.
    :param source: What is sent.
    :param media_type: Its media type.
    :param policy: Where the form's address may lead.
    :param connect_timeout: Seconds to wait for a connection.
    :param standstill: Seconds that may pass without the host taking a byte.
    :param timeout: Seconds to wait for the answer after the last byte.
    :param progress: Gets a look at the transfer now and then, and one at its end.
    :raises MosaicValidationError: The source is too large, or changed while it was sent.
    :raises MosaicError: The kind that says what to do about it.
    """
    checked_size(form, source)
    remember_signed(form.signature)
    around = multipart_frame(form.upload_fields, file_name=source.name, media_type=media_type)
    lines = ProgressLines(name=source.name, total=source.size, told=progress)
    body = _Body(around, source, lines)
    what = f"upload {source.name!r}"
    check_on_web(form.upload_url, what=what, given_by="the form from Mosaic", secrets=form.secrets)
    try:
        # The generator is closed here, not by the garbage collector: it holds the source open.
        with (
            open_storage_session(policy, standstill=standstill) as session,
            closing(body),
            hiding(form.secrets),
            session.post(
                form.upload_url,
                # The stubs know only bytes; the connection takes whatever has a buffer.
                data=cast("Iterable[bytes]", body),
                headers={
                    "User-Agent": USER_AGENT,
                    "Content-Type": around.content_type,
                    # Where the host answers early the rest is never sent: no other request may follow it.
                    "Connection": "close",
                },
                timeout=(connect_timeout, timeout),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            _judge(form, source, what, response, whole=body.whole)
    except ForbiddenLink as error:
        raise forbidden(error, what=what, method="POST", url=form.upload_url) from None
    except TRANSFER_ERRORS as error:
        raise transfer_error(error, what=what, method="POST", url=form.upload_url, secrets=form.secrets) from None
    lines.finish(source.size)


def checked_size(form: UploadForm, source: Source) -> None:
    """
    Refuse a source that is larger than the form takes.

    :param form: The signed form.
    :param source: What would be sent.
    :raises MosaicValidationError: It is too large.
    """
    limit = form.max_file_size_bytes
    if limit is not None and source.size > limit:
        _too_large(source, limit)


class _Body:
    """The form as requests sends it: its length makes a ``Content-Length``, its blocks are taken one by one."""

    def __init__(self, around: MultipartFrame, source: Source, lines: ProgressLines) -> None:
        self._around = around
        self._source = source
        self._lines = lines
        self._blocks: Iterator[memoryview] | None = None
        self.whole = False

    def __len__(self) -> int:
        return self._around.length(self._source.size)

    def __iter__(self) -> Iterator[memoryview]:
        self._blocks = blocks(self._source)
        yield memoryview(self._around.before)
        done = 0
        for block in self._blocks:
            size = len(block)
            yield block
            done += size
            self._lines.at(done)
        self.whole = True
        yield memoryview(self._around.after)

    def close(self) -> None:
        if self._blocks is not None:
            self._blocks.close()  # type: ignore[attr-defined]


def _judge(form: UploadForm, source: Source, what: str, response: requests.Response, *, whole: bool) -> None:
    host = origin(form.upload_url)
    status = response.status_code
    # With a field such as success_action_redirect in the form, S3 and Google answer a stored file with a 303.
    if 200 <= status < 300 or status == 303:
        if status != 303 and file_info(response).page:
            raise MosaicResponseError(
                f"Could not {what}: {host} answered an HTML page, as a proxy or a login page would send.",
                status=status,
                method="POST",
                path=host,
            )
        if not whole:
            raise MosaicResponseError(
                f"Could not {what}: {host} answered {status} before it had the whole file.",
                status=status,
                method="POST",
                path=host,
                transient=True,
            )
        return
    if 300 <= status < 400:
        target = origin(joined(form.upload_url, response.headers.get("location", "")), form.secrets)
        raise MosaicResponseError(
            f"Could not {what}: {host} answered {status} and points to {target}; a file is not sent on to an address "
            "that Mosaic did not give.",
            status=status,
            method="POST",
            path=host,
            effect_unknown=False,
        )
    raise _refused(form, source, what, host, refusal_in(response, form.secrets))


def _refused(form: UploadForm, source: Source, what: str, host: str, refusal: Refusal) -> MosaicError:
    status = refusal.status
    if status == 413 or refusal.code == "EntityTooLarge":
        _too_large(source, form.max_file_size_bytes, refusal)
    head = f"Could not {what}: the storage host {host} answered {refusal.words}."
    kind: type[MosaicError]
    if status == 429:
        kind, advice, transient, unknown = MosaicRateLimitError, "It asks to come back later.", True, False
    elif status >= 500 or status == 408 or refusal.code in _SERVERS_FAULT:
        kind, advice, transient, unknown = MosaicServerError, "It failed; it may pass.", True, True
    elif refusal.code in _WRONG_SIZE:
        kind, advice, transient, unknown = MosaicValidationError, "The file is too small for it.", False, False
    elif status in _FORM_REFUSED:
        kind, transient, unknown = MosaicPermissionError, True, False
        advice = "It does not take this form, or not any more: begin the upload again with a fresh one."
    else:
        kind, advice, transient, unknown = MosaicValidationError, "It does not take the file like this.", False, False
    return kind(
        f"{head} {advice}",
        status=status,
        method="POST",
        path=host,
        detail=": ".join(part for part in (refusal.code, refusal.message) if part) or None,
        transient=transient,
        effect_unknown=unknown,
        retry_after=refusal.retry_after,
    )


def _too_large(source: Source, limit: int | None, refusal: Refusal | None = None) -> NoReturn:
    said = f" (the storage host answered {refusal.words})" if refusal else ""
    most = "" if limit is None else f"; at most {size_words(limit)} ({limit:,} bytes) are taken"
    raise_invalid("source", source.shown, f"it has {size_words(source.size)} ({source.size:,} bytes){most}{said}.")
