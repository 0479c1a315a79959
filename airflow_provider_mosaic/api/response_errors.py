"""
The exception for a response that reports a failure: what happened, what it means, what to do.

- The status decides. Codes of 2025 for credits and limits refine a 4xx that had no effect.
- An effect is unknown after a 408, a 460, a 499 and a 5xx, except a 503 with ``Retry-After``: the server rejected that
  before any work, as it does with a 425 (https://www.rfc-editor.org/rfc/rfc8470#section-5.2). An HTML page comes from a
  proxy, which may have sent the request on: Varnish adds ``Retry-After`` also when the server behind it is too slow.
- An effect is also unknown, with each status, if the body has the id of something new or shows a published post. In a
  409 and a 429, an id alone is that of what prevented the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.api.refusals import ERROR_CODES, LIMIT_CODES, Refusal, ids_in_error, named_code
from airflow_provider_mosaic.api.responses import Response, describe_body, detail_of, explanation, is_web_page
from airflow_provider_mosaic.api.scopes import scope_words

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.call import Call

#: The path of an item, as a redirect after its creation has it.
_ITEM = re.compile(r"/(?:agents?|agent_runs?|runs?|posts?|avatar-profiles)/[^/]+$")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
#: A gateway gave up on a request that Mosaic may have carried out: load balancers of AWS send 460
#: (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html), nginx and
#: Google's gateways 499 (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
_GIVEN_UP = (MosaicServerError, "A gateway gave up on the request.", "")
_FIX_REQUEST = "Fix the request. Retrying it does not help."
#: The exception, what it means, what to do.
_Meaning = tuple[type[MosaicError], str, str]
#: By status; 500 stands for all 5xx.
_MEANINGS: Mapping[int, _Meaning] = {
    400: (MosaicValidationError, "", _FIX_REQUEST),
    401: (MosaicAuthenticationError, "", "Set a valid API key as the password of the connection."),
    402: (MosaicNeedsCreditsError, "Nothing was started.", "Buy credits, then retry."),
    403: (
        MosaicPermissionError,
        "",
        "Check the scopes of the API key{needs}, the plan of the organization, and the workspace id of the connection.",
    ),
    404: (MosaicNotFoundError, "", "Check the id, and that the API key belongs to the organization that owns it."),
    408: (MosaicServerError, "The server timed out.", ""),
    409: (MosaicConflictError, "", "The current state of the run, post or asset does not allow this. Check it first."),
    413: (MosaicValidationError, "", "Use a smaller or shorter file."),
    422: (MosaicValidationError, "", _FIX_REQUEST),
    425: (MosaicServerError, "", ""),
    429: (MosaicRateLimitError, "Too many requests. Nothing was done.", ""),
    460: _GIVEN_UP,
    499: _GIVEN_UP,
    500: (MosaicServerError, "The server failed. This may be temporary.", ""),
}
#: Statuses that the table does not have: a 4xx, and all others below 500.
_OTHER_4XX: _Meaning = (MosaicValidationError, "The server refused the request.", "")
_OTHER: _Meaning = (MosaicResponseError, "The API does not document this status.", "")
#: Refusals without a code that the table has: of a read, and of all other requests.
_READ_REFUSED: _Meaning = (MosaicResponseError, "Nothing was read.", "Check the id, the API key and the host.")
_REFUSED: _Meaning = (
    MosaicValidationError,
    "Mosaic refused the request. Nothing was started, paid or published by it.",
    "Fix the cause that Mosaic gives, then clear the task.",
)


def error_for(
    call: Call[Any],
    response: Response,
    *,
    secrets: Iterable[str] = (),
    why_not_followed: str = "",
    now: datetime | None = None,
) -> MosaicError:
    """
    Return the exception for a response that is not 2xx.

    :param why_not_followed: Why a redirect to the same host is not followed, and what to do; empty for other redirects.
    """
    status = response.status
    facts: dict[str, Any] = {
        "status": status,
        "detail": detail_of(response, secrets),
        "retry_after": response.retry_after(now=now),
    }
    reason = f": {facts['detail']}" if facts["detail"] else ""
    if not reason and response.content.strip():
        reason = f" ({describe_body(response, secrets)})"
    if 300 <= status < 400:
        to_do = "It redirects to another address. The API key is not sent to it. Check the connection's host."
        if not response.headers.get("location"):
            to_do = "It redirects without an address. Check the connection's host."
        facts["effect_unknown"] = facts["accepted"] = _leads_to_result(call, response)
        return call.error(MosaicResponseError, f"returned {status}{reason}.", to_do=why_not_followed or to_do, **facts)
    other = _OTHER_4XX if 400 <= status < 500 else _OTHER
    kind, means, to_do = _meaning(call, _advised_status(response), other)
    if status == 425 or (status == 503 and facts["retry_after"] is not None and not is_web_page(response)):
        means = "Nothing was done."
        facts["effect_unknown"] = False
    ids, is_shown = _effect_in_error(call, response)
    if is_shown or (ids and kind not in (MosaicConflictError, MosaicRateLimitError)):
        means, to_do = "The body shows an id or a result, so something may have been done.", ""
        facts |= {"effect_unknown": True, "accepted": True, "candidates": ids}
    return call.error(kind, f"returned {status}{reason}.", means=means, to_do=to_do, **facts)


def _effect_in_error(call: Call[Any], response: Response) -> tuple[tuple[str, ...], bool]:
    """Return the new ids in the body of an error, and whether the body shows an effect without them."""
    try:
        data = response.json() if call.makes else None
    except ValueError:
        return (), False
    return ids_in_error(call, data), call.shows_effect(data)


def _leads_to_result(call: Call[Any], response: Response) -> bool:
    """
    Return whether a redirect points to the result of a request that was carried out.

    A 303 does (https://www.rfc-editor.org/rfc/rfc9110#section-15.4.4), and many servers send a 302 for it.
    """
    if response.status not in (301, 302) or call.method == "GET":
        return response.status == 303
    path = _QUERY.sub("", response.headers.get("location", "")).rstrip("/")
    return _ITEM.search(path) is not None and not path.endswith(call.target)


def refusal_error(call: Call[Any], refusal: Refusal, response: Response, secrets: Iterable[str] = ()) -> MosaicError:
    """Return the exception for a 2xx whose body refuses the request."""
    detail = explanation(refusal.reason, secrets)
    reason = f": {detail.rstrip('.')}." if detail else ", and no reason is given."
    problem = f"returned {response.status}, but {refusal.evidence}{reason}"
    facts: dict[str, Any] = {"status": response.status, "detail": detail, "retry_after": response.retry_after()}
    if refusal.signs:
        return call.error(
            MosaicResponseError,
            problem,
            means="The body contradicts itself: these fields suggest that something was done: "
            f"{', '.join(map(label, refusal.signs))}.",
            accepted=True,
            candidates=tuple(map(label, refusal.ids)),
            **facts,
        )
    other = _READ_REFUSED if call.method == "GET" else _REFUSED
    kind, means, to_do = _meaning(call, refusal.code or 0, other)
    return call.error(kind, problem, means=means, to_do=to_do, **facts)


def _meaning(call: Call[Any], status: int, other: _Meaning) -> _Meaning:
    """Return the meaning of a status; ``other`` if the table does not have it."""
    kind, means, to_do = _MEANINGS.get(min(status, 500), other)
    scopes = scope_words(call.method, call.path)
    return kind, means, to_do.replace("{needs}", f" ({scopes})" if scopes else "")


def _advised_status(response: Response) -> int:
    """Return the status whose advice fits: that of a code for credits or a limit, if the 4xx had no effect."""
    status = response.status
    if 400 <= status < 500 and not _MEANINGS.get(status, _OTHER_4XX)[0].effect_unknown:
        with suppress(ValueError):
            code = named_code(response.json())
            return ERROR_CODES[code] if code in LIMIT_CODES else status
    return status
