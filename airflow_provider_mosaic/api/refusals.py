"""
Whether the body of a 2xx response says that the request was refused.

What ``success: false`` with a 200 means is not documented (https://docs.mosaic.so/api/introduction), so a refusal is
believed only where nothing in the body suggests that something was made or done. A refusal that is believed too easily
loses a run; one that is not believed at all sends a request again that was answered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Switches that say whether the request was carried out.
_FLAGS = frozenset({"success", "ok", "successful", "succeeded", "issuccess"})
_BAD_STATUSES = frozenset({
    "error", "errored", "fail", "failed", "failure", "denied", "refused", "forbidden", "invalid", "timedout", "timeout",
})  # fmt: skip
#: The same of a request that makes something or registers an upload. Of others they may be what was asked for.
_BAD_FOR_WHAT_IS_MADE = frozenset({"rejected", "cancelled", "canceled", "aborted", "expired"})
#: Statuses that are those of a run or a post itself, so that they may come with a request that was carried out.
_ENDS = frozenset({"failed", "timedout", "timeout"})
#: Statuses of something that was made, or of a request that was carried out.
_GOOD_STATUSES = frozenset({
    "success", "succeeded", "ok", "done", "accepted", "created", "queued", "pending", "running", "processing",
    "completed", "complete", "partialcomplete", "scheduled", "pendingapproval", "posted", "published", "partialfailure",
    "ready", "deleted", "updated", "started",
})  # fmt: skip
#: The fields that hold a refusal's own words and marks. A response to a GET that has no others has read nothing.
_REFUSAL_FIELDS = frozenset({
    *_FLAGS, "detail", "details", "message", "msg", "reason", "title", "type", "error", "errors", "errordescription",
    "errormessage", "errorcode", "code", "status", "statuscode", "requestid", "traceid", "timestamp", "path",
    "instance", "docsurl", "documentationurl", "helpurl",
})  # fmt: skip
_WORDS = (
    "detail", "details", "message", "msg", "reason", "errordescription", "errormessage", "error", "errors", "title",
)  # fmt: skip
#: Ids of what was there before, or of the request itself. Any other may be of what the request has made.
_OTHER_IDS = frozenset({
    "requestid", "traceid", "spanid", "correlationid", "errorid", "incidentid", "supportid", "eventid", "logid",
    "organizationid", "orgid", "workspaceid", "userid", "accountid", "sessionid", "agentid", "agentnodeid",
    "originalnodeid", "socialconnectionid", "planid", "channelid", "triggerid", "apikeyid",
})  # fmt: skip
_OTHER_LINKS = re.compile(r"doc|help|support|upgrade|billing|checkout|pricing|info|plan")
#: Counts and lists of what a request has done.
_DONE = frozenset({
    "nodesqueued", "requeuednodes", "taskscancelled", "nodesreset", "operationsapplied", "creatednodes",
    "links", "outputs", "channels", "channelids", "removedchannels",
})  # fmt: skip
#: Machine-readable codes, with the HTTP status that they stand for. Most were documented in 2025.
_CODES = {
    "validation_error": 400,
    "invalid_api_key": 401,
    "insufficient_credits": 402,
    "forbidden": 403,
    "not_found": 404,
    "parameter_out_of_range": 422,
    "rate_limit": 429,
    "rate_limit_exceeded": 429,
    "concurrent_agent_limit": 429,
    "internal_server_error": 500,
    "internal_error": 500,
    "server_error": 500,
    "service_unavailable": 500,
    "timeout": 504,
    "gateway_timeout": 504,
}
#: Fields that may hold the whole answer.
_WRAPPERS = frozenset({"data", "result", "response"})
_MOST_LEVELS = 6


@dataclass(frozen=True, kw_only=True)
class Denial:
    """
    A body that says no.

    :param mark: What in the body says no, such as ``'success' is false``.
    :param words: The part of the body that says why; None where nothing does.
    :param code: The HTTP status that its code stands for; None where it has none.
    :param signs: The fields that suggest that something was made or done all the same.
    :param ids: Ids that may be of what was made.
    """

    mark: str
    words: Any
    code: int | None
    signs: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


def denial_in(data: Any, *, method: str, path: str, makes: str, sent: Collection[str]) -> Denial | None:
    """
    Return what a body says against the request, or None where it is no refusal.

    :param data: The decoded body.
    :param method: HTTP method of the request.
    :param path: Path template of the request.
    :param makes: The name of the id of what the request makes; empty where it makes nothing.
    :param sent: The ids and texts that the request held. A response that repeats them tells nothing new.
    """
    if not isinstance(data, Mapping):
        return None
    body = {_plain(name): value for name, value in data.items()}
    told = [name for name, value in body.items() if _something(value) or value is False]
    if len(told) == 1 and told[0] in _WRAPPERS and isinstance(body[told[0]], Mapping):
        return denial_in(body[told[0]], method=method, path=path, makes=makes, sent=sent)
    flags = {name: value for name in _FLAGS if (value := _flag(body.get(name))) is not None}
    flag = None if not flags else all(flags.values())
    status = _plain(body["status"]) if isinstance(body.get("status"), str) else ""
    code = _code(body)
    error = _something(body.get("error")) or (code or 0) >= 400
    made = bool(makes) or path.endswith("/finalize_upload")
    bad_status = status in _BAD_STATUSES or (made and status in _BAD_FOR_WHAT_IS_MADE)
    mark = "'error' is set" if error else f"'status' is '{status}'" if bad_status else "'errors' is not empty"
    if flag is False:
        mark = f"'{next(name for name, value in flags.items() if not value)}' is false"
    elif code is not None and body.get("status") == code:
        mark = f"'status' is {code}"
    if method == "GET":
        bare = all(name in _REFUSAL_FIELDS or not _something(value) for name, value in body.items())
        # A status alone may be that of the run or the post that was read.
        said = flag is False or (error and not status)
        return Denial(mark=mark, words=_words(body), code=code) if bare and said else None
    strong = flag is False or (error and status not in _GOOD_STATUSES)
    weak = bad_status or _something(body.get("errors"))
    if not strong and not weak:
        return None
    signs, ids = _signs(data, makes, set(sent))
    if not strong and (signs or (status in _ENDS and _repeats_id(body, sent) and _has_status(path))):
        return None
    if flag is True:
        signs = ("success", *signs)
    return Denial(mark=mark, words=_words(body), code=code, signs=signs, ids=ids)


def texts_in(value: Any) -> Iterator[str]:
    """
    Return the texts in what is sent, at any depth.

    :param value: The body of a request.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(inner)


def _plain(name: Any) -> str:
    return re.sub(r"[_\-\s]", "", str(name)).lower()


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"false": False, "true": True}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _something(value: Any) -> bool:
    """Whether a value says anything: neither absent, nor false, nor zero, nor empty at every depth."""
    if isinstance(value, Mapping):
        return any(map(_something, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_something, value))
    if isinstance(value, str):
        return value.strip().lower() not in ("", "none", "null", "false", "ok")
    return bool(value)


def _code(body: Mapping[str, Any]) -> int | None:
    error = body.get("error")
    inner = {_plain(name): value for name, value in error.items()} if isinstance(error, Mapping) else {}
    values = [error, *(each.get(name) for each in (body, inner) for name in ("code", "errorcode", "statuscode"))]
    values += [body.get("status"), inner.get("status"), inner.get("type")]
    for value in values:
        if isinstance(value, str) and value in _CODES:
            return _CODES[value]
        if isinstance(value, (str, int)) and re.fullmatch("[45][0-9][0-9]", str(value)):
            return int(value)
    return None


def _words(body: Mapping[str, Any]) -> Any:
    return next((body[name] for name in _WORDS if body.get(name) is not True and _something(body.get(name))), None)


def _has_status(path: str) -> bool:
    return path.startswith(("/agent_run/", "/social/post/"))


def _repeats_id(body: Mapping[str, Any], sent: Collection[str]) -> bool:
    return any(name.endswith("id") and value in sent for name, value in body.items() if isinstance(value, str))


def _signs(data: Mapping[str, Any], makes: str, sent: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields that suggest an effect, and the ids among them."""
    signs: dict[str, None] = {}
    ids: dict[str, None] = {}
    others = _OTHER_IDS - {_plain(makes)}
    made = _plain(makes).removesuffix("id")

    def look(value: Any, *, in_error: bool, levels: int) -> None:
        if isinstance(value, list) and levels:
            for item in value[:100]:
                look(item, in_error=in_error, levels=levels - 1)
        if not isinstance(value, Mapping) or not levels:
            return
        for key, inner in value.items():
            name = _plain(key)
            if isinstance(inner, (Mapping, list)):
                look(inner, in_error=in_error or name in ("error", "errors", "detail"), levels=levels - 1)
            if name.endswith(("id", "ids")) and name not in others and not (in_error and name == "id"):
                if not makes:
                    # Of what is there already.
                    continue
                found = [str(each) for each in (inner if isinstance(inner, list) else [inner]) if _is_made(each, sent)]
                ids.update(dict.fromkeys(found))
                signs.update(dict.fromkeys([str(key)] if found else []))
            elif (made and name == made and _is_made(inner, sent)) or _is_sign(name, inner, sent):
                signs[str(key)] = None

    look(data, in_error=False, levels=_MOST_LEVELS)
    return tuple(signs)[:10], tuple(ids)[:10]


def _is_made(value: Any, sent: set[str]) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return False
    return _something(value) and str(value) not in sent


def _is_sign(name: str, value: Any, sent: set[str]) -> bool:
    if name in _FLAGS:
        return _flag(value) is True
    if name == "status":
        return _plain(value) in _GOOD_STATUSES
    if name in _DONE:
        return _something(value)
    if name.endswith("url") and not _OTHER_LINKS.search(name):
        return isinstance(value, str) and _something(value) and value not in sent
    return False
