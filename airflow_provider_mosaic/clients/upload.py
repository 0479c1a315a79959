"""
Upload an asset: reserve it, send its file to the storage host in the form that Mosaic signed, finalize it.

Storing and finalizing are two steps: after a failed finalize, a retry does not send the file again.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, NoReturn, cast

import requests

from airflow_provider_mosaic.api.access import USER_AGENT
from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.endpoints.assets import UploadForm, finalize_upload, get_view_url, start_upload
from airflow_provider_mosaic.api.errors import (
    MosaicConflictError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.file_links import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.metrics import BYTES_UPLOADED, count
from airflow_provider_mosaic.api.redaction import remember_signed
from airflow_provider_mosaic.api.retries import DEFAULT_RETRIES, ONCE
from airflow_provider_mosaic.clients.library_logs import masking
from airflow_provider_mosaic.clients.progress import TransferProgress, format_size
from airflow_provider_mosaic.clients.signed_urls import (
    CONNECT_TIMEOUT,
    check_is_http,
    open_storage_session,
    origin,
    resolve_redirect,
    transfer_errors,
)
from airflow_provider_mosaic.clients.sources import Source, read_blocks
from airflow_provider_mosaic.clients.storage_responses import WEB_PAGE, ErrorResponse, read_error_response
from airflow_provider_mosaic.clients.sync_client import SyncClient

log = logging.getLogger(__name__)

#: Transfers of the file, each with a new form.
_MAX_TRANSFERS = 4
#: Delays while the API does not see the stored file yet.
_LAG_DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0)
#: Delays while the API does not show a finalized asset yet.
_APPEARANCE_DELAYS = _LAG_DELAYS[:4]


def store(client: SyncClient, source: Source, kind: AssetType, media_type: str) -> str:
    """
    Reserve an asset and send its file, again with a new form if the transfer fails.

    :returns: The id that the asset has once it is finalized.
    """
    transfer = 1
    while True:
        # A form serves one transfer. An incomplete one expires by itself.
        form = client.send(start_upload(kind))
        try:
            send_form(form, source, media_type, policy=client.access.link_policy)
        except MosaicError as error:
            # The size is fixed here: another transfer of a file that changed would fail too.
            changed = isinstance(error, MosaicValidationError)
            if changed or not error.transient or transfer == _MAX_TRANSFERS:
                raise
            delay = DEFAULT_RETRIES.pause_within_budget(transfer, error)
            log.warning("%s Restarting the upload in %.0f s.", error, delay)
            time.sleep(delay)
            transfer += 1
        else:
            count(BYTES_UPLOADED, by=source.size)
            return form.asset_id


def finalize(
    client: SyncClient,
    kind: AssetType,
    asset_id: str,
    *,
    may_be_finalized: bool = False,
    resent_after: list[MosaicError] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """
    Finalize an asset whose file is stored, and wait until Mosaic shows it.

    A 400, a 404, or a refusal in a 2xx can mean that the API does not see the file yet. After a request with an unknown
    outcome, these and a 409 can also mean that the asset is finalized already, in which case it can be viewed. A link
    alone proves nothing: Mosaic may sign one without an asset.

    :param may_be_finalized: Whether an earlier request may have finalized the asset.
    :param resent_after: Collects the errors after which the request was sent again.
    """
    resent_after = [] if resent_after is None else resent_after
    for delay in (*_LAG_DELAYS, None):
        try:
            finalized_id = client.send(finalize_upload(kind, asset_id), on_retry=resent_after.append)
            _wait_until_shown(client, kind, finalized_id, sleep)
            return finalized_id
        except (MosaicNotFoundError, MosaicConflictError, MosaicValidationError) as error:
            is_unknown = may_be_finalized or any(each.effect_unknown for each in resent_after)
            is_lag = _may_be_lag(error) or (is_unknown and isinstance(error, MosaicConflictError))
            if is_unknown and is_lag and _can_be_viewed(client, kind, asset_id):
                log.info("The %s %r is finalized already.", kind.value, asset_id)
                return asset_id
            if not is_lag or delay is None:
                raise
            log.info(
                "Mosaic does not see the file of %s %r yet. Retrying in %.0f s. %s",
                kind.value,
                asset_id,
                delay,
                error.detail or "",
            )
            sleep(delay)
    raise AssertionError("the last attempt returns or raises")


def _may_be_lag(error: MosaicError) -> bool:
    """Return whether an error can mean that the API does not see the file or the asset yet."""
    # A 2xx whose body refuses the request has no status that would tell a lag from another cause.
    is_2xx = 200 <= (error.status or 0) < 300
    refused_in_2xx = is_2xx and isinstance(error, (MosaicNotFoundError, MosaicValidationError))
    return refused_in_2xx or error.status in (400, 404)


def _wait_until_shown(client: SyncClient, kind: AssetType, asset_id: str, sleep: Callable[[float], None]) -> None:
    """
    Wait until a finalized asset can be viewed: a start that Mosaic rejects for it would fail without retries.

    Another error than a 400, a 404, or a refusal in a 2xx tells nothing about the asset, and ends the wait.
    """
    for delay in (*_APPEARANCE_DELAYS, None):
        try:
            client.send(get_view_url(kind, asset_id), retries=ONCE)
            return
        except MosaicError as error:
            if not _may_be_lag(error):
                log.info("Could not check whether Mosaic shows %s %r. %s", kind.value, asset_id, error)
                return
            if delay is None:
                log.warning(
                    "Mosaic finalized %s %r, but does not show it after %.0f s. A run that starts now may not find it "
                    "yet. %s",
                    kind.value,
                    asset_id,
                    sum(_APPEARANCE_DELAYS),
                    error,
                )
                return
            sleep(delay)


def _can_be_viewed(client: SyncClient, kind: AssetType, asset_id: str) -> bool:
    try:
        client.send(get_view_url(kind, asset_id))
    except MosaicError:
        return False
    return True


# One transfer

#: The form is invalid or expired. Another form can succeed.
_FORM_REJECTED = frozenset({400, 401, 403, 404, 410, 412})
#: Fields of a form that ask for a 303 when the file is stored.
_REDIRECT_FIELDS = frozenset({"success_action_redirect", "redirect"})


def send_form(
    form: UploadForm,
    source: Source,
    media_type: str,
    *,
    policy: LinkPolicy = PUBLIC,
    connect_timeout: float = CONNECT_TIMEOUT,
    send_timeout: float = 60.0,
    timeout: float = 300.0,
) -> None:
    """
    Send a file to the storage host, once.

    A failed transfer cannot be resumed. If its error is :attr:`MosaicError.transient`, a transfer with a new form can
    succeed. A transient :class:`MosaicPermissionError` means that the host rejected this form.

    :param send_timeout: Seconds that may pass without the host taking a byte.
    :param timeout: Seconds to wait for the response after the last byte.
    """
    check_size(form, source)
    remember_signed(form.signature)
    progress = TransferProgress(source.name, log.info, total=source.size)
    body = _Body(form, source, media_type, progress)
    action = f"upload {source.name!r}"
    check_is_http(form.upload_url, action=action, given_by="the address of the form from Mosaic", secrets=form.secrets)
    with (
        transfer_errors(action=action, method="POST", url=form.upload_url, secrets=form.secrets),
        open_storage_session(policy, send_timeout=send_timeout) as session,
        # Closes the source, also after an error.
        closing(body),
        masking(form.secrets),
        session.post(
            form.upload_url,
            # The stubs of requests lack other buffers than bytes.
            data=cast("Iterable[bytes]", body),
            headers={
                "User-Agent": USER_AGENT,
                "Content-Type": body.content_type,
                # After an early response the rest is never sent, so the connection can't be used again.
                "Connection": "close",
            },
            timeout=(connect_timeout, timeout),
            allow_redirects=False,
            stream=True,
        ) as response,
    ):
        _check_response(form, source, action, response, complete=body.complete)
    progress.finish(source.size)


def check_size(form: UploadForm, source: Source) -> None:
    """Raise if a file is larger than its form permits."""
    limit = form.max_file_size_bytes
    if limit is not None and source.size > limit:
        _raise_too_large(source, limit)


class _Body:
    """
    The form as requests sends it: block by block, with a ``Content-Length``.

    The storage host requires the signed fields verbatim and in order, then the file, and rejects other fields
    (https://docs.mosaic.so/api/asset-management/upload-flow).
    """

    def __init__(self, form: UploadForm, source: Source, media_type: str, progress: TransferProgress) -> None:
        # No file contains 128 random bits.
        boundary = f"mosaic-{secrets.token_hex(16)}"
        head = f"--{boundary}\r\nContent-Disposition: form-data; name="
        parts = [f'{head}"{_escaped(name)}"\r\n\r\n{value}\r\n' for name, value in form.upload_fields.items()]
        parts.append(f'{head}"file"; filename="{_escaped(source.name)}"\r\nContent-Type: {media_type}\r\n\r\n')
        self.content_type = f"multipart/form-data; boundary={boundary}"
        #: Whether the whole file was sent.
        self.complete = False
        self._before = "".join(parts).encode()
        self._after = f"\r\n--{boundary}--\r\n".encode()
        self._source = source
        self._progress = progress
        self._blocks: Generator[memoryview, None, None] | None = None

    def __len__(self) -> int:
        return len(self._before) + self._source.size + len(self._after)

    def __iter__(self) -> Iterator[memoryview]:
        self._blocks = read_blocks(self._source)
        yield memoryview(self._before)
        done = 0
        for block in self._blocks:
            size = len(block)
            yield block
            done += size
            self._progress.update(done)
        self.complete = True
        yield memoryview(self._after)

    def close(self) -> None:
        if self._blocks is not None:
            self._blocks.close()


def _escaped(name: str) -> str:
    # The three escapes of browsers
    # (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data). urllib3's encoder
    # has others in version 1.26, and fails for file names that are not UTF-8.
    text = name.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def _check_response(
    form: UploadForm, source: Source, action: str, response: requests.Response, *, complete: bool
) -> None:
    """Raise unless the host has stored the whole file."""
    host, status = origin(form.upload_url), response.status_code
    request: dict[str, Any] = {"status": status, "method": "POST", "path": host}
    # If the form asks for it, S3 and Google return 303 for a stored file.
    if 200 <= status < 300 or (status == 303 and _REDIRECT_FIELDS & form.upload_fields.keys()):
        has_body = status not in (204, 303)
        error = read_error_response(response, form.secrets) if has_body else ErrorResponse(status=status)
        # Not by its media type: Google's storage sends that of a web page with an empty body.
        if error.is_web_page:
            raise MosaicResponseError(f"Could not {action}: {host} {WEB_PAGE}.", **request)
        if error.code:
            raise MosaicServerError(
                f"Could not {action}: {host} returned {error}, although the status means success.",
                **request,
                detail=error.detail or None,
            )
        if not complete:
            raise MosaicResponseError(
                f"Could not {action}: {host} returned {status} before it had the whole file.",
                **request,
                transient=True,
            )
        return
    if 300 <= status < 400:
        target = origin(resolve_redirect(form.upload_url, response.headers.get("location", "")), form.secrets)
        raise MosaicResponseError(
            f"Could not {action}: {host} returned {status} and points to {target}. A file is not sent to an address "
            "that Mosaic did not give.",
            **request,
            effect_unknown=False,
        )
    raise _rejection_error(source, form, f"Could not {action}: the storage host {host}", request, response)


def _rejection_error(
    source: Source, form: UploadForm, subject: str, request: dict[str, Any], response: requests.Response
) -> MosaicError:
    error = read_error_response(response, form.secrets)
    status = error.status
    if status == 413 or error.code == "EntityTooLarge":
        _raise_too_large(source, form.max_file_size_bytes, error)
    kind: type[MosaicError] = MosaicValidationError
    if error.transient_kind is not None:
        kind = error.transient_kind
        advice = f"The host {'is rate limiting' if status == 429 else 'failed'}. A retry may succeed."
    elif error.code == "EntityTooSmall":
        advice = "The file is smaller than the host accepts."
    elif status in _FORM_REJECTED:
        kind = MosaicPermissionError
        advice = "The host rejects this form, or the form has expired. Start the upload again with a new form."
    else:
        advice = "The host rejects the file."
    return kind(
        f"{subject} returned {error}. {advice}",
        **request,
        detail=error.detail or None,
        transient=kind is not MosaicValidationError,
        retry_after=error.retry_after,
    )


def _raise_too_large(source: Source, limit: int | None, error: ErrorResponse | None = None) -> NoReturn:
    most = "" if limit is None else f", but Mosaic permits at most {format_size(limit)} ({limit:,} bytes)"
    reply = f" (the storage host returned {error})" if error else ""
    raise_invalid("source", source.shown, f"it has {format_size(source.size)} ({source.size:,} bytes){most}{reply}.")
