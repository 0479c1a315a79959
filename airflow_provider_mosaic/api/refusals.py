"""
Recognize a 2xx response whose body refuses the request.

What ``"success": false`` with a 200 means is not documented (https://docs.mosaic.so/api/introduction). A body that is
taken for a refusal by mistake loses a run: it was started, but the task fails without its id. A refusal that is missed
reports as done what Mosaic did not do. The rules:

1. A body refuses *clearly* if it is ``false``, if a success flag in it is false, or if ``error`` is set (or a code of
   400 or more) and ``status`` is not a good one.
2. A body refuses *possibly* if ``status`` is a bad one, or ``errors`` is not empty.
3. *Signs of an effect* are a new id, a good status, a success flag that is true, a link, and a count or list of what
   was done.
4. A possible refusal counts only without such signs. A clear refusal always counts; with signs, the body contradicts
   itself and the outcome is unknown.
5. The response to a GET is a refusal only if it has no other fields than a refusal has, and either

   - a success flag in it is false,
   - or it has an error code, or ``error`` without any ``status``,
   - or its status is a bad one that no run and no post has, beside an explanation. A bad status alone, and ``failed``,
     are those of the run or the post.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.api.responses import explanation

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.call import Call

# Names of fields and statuses are compared in lower case, without underscores, hyphens and spaces.
_SUCCESS_FLAGS = ("success", "ok")
_BAD_STATUSES = frozenset({
    "error", "errored", "fail", "failed", "failure", "denied", "refused", "forbidden", "invalid", "timedout", "timeout",
})  # fmt: skip
#: Bad statuses only in the response to a request that creates something or registers an upload.
_BAD_STATUSES_OF_NEW = frozenset({"rejected", "cancelled", "canceled", "aborted", "expired"})
#: Bad statuses that are not documented for a run, a post or an avatar profile.
_BAD_STATUSES_OF_RESPONSES = _BAD_STATUSES - {"failed"}
#: Statuses of a run or a post itself, which the response to a successful cancel or delete may repeat.
_OWN_STATUSES = frozenset({"failed", "timedout", "timeout"})
_GOOD_STATUSES = frozenset({
    "success", "succeeded", "ok", "done", "accepted", "created", "queued", "pending", "running", "processing",
    "completed", "complete", "partialcomplete", "scheduled", "pendingapproval", "posted", "published", "partialfailure",
    "ready", "deleted", "updated", "started",
})  # fmt: skip
_REASON_FIELDS = (
    "detail", "details", "message", "msg", "reason", "errordescription", "errormessage", "error", "errors", "title",
)  # fmt: skip
_REFUSAL_FIELDS = frozenset({
    *_SUCCESS_FLAGS, *_REASON_FIELDS, "type", "errorcode", "code", "status", "statuscode", "requestid", "traceid",
    "timestamp", "path", "instance", "docsurl", "documentationurl", "helpurl",
})  # fmt: skip
#: Fields that may hold the whole response, and all fields of a body that has one of them.
_ENVELOPES = ("data", "result", "run", "agent_run", "post")
_ABOUT_RESPONSE = _REFUSAL_FIELDS | {name.replace("_", "") for name in _ENVELOPES} | {"meta"}
#: Ids of the request, or of what existed before it. Any other id may be that of something new.
_OLD_IDS = frozenset({
    "requestid", "traceid", "spanid", "correlationid", "errorid", "incidentid", "supportid", "eventid", "logid",
    "organizationid", "orgid", "workspaceid", "userid", "accountid", "sessionid", "agentid", "agentnodeid",
    "originalnodeid", "socialconnectionid", "planid", "channelid", "triggerid", "apikeyid",
})  # fmt: skip
_HELP_LINKS = re.compile(r"doc|help|support|upgrade|billing|checkout|pricing|info|plan")
#: Counts and lists of what a request has done.
_DONE_FIELDS = frozenset({
    "nodesqueued", "requeuednodes", "taskscancelled", "nodesreset", "operationsapplied", "creatednodes",
    "links", "outputs", "channels", "channelids", "removedchannels",
})  # fmt: skip
_MAX_DEPTH = 6
_MAX_ITEMS = 100
_MAX_SIGNS = 10
#: Machine-readable error codes of the documentation of 2025, with the HTTP status of the same meaning.
ERROR_CODES = {
    "validation_error": 400,
    "invalid_api_key": 401,
    "insufficient_credits": 402,
    "forbidden": 403,
    "not_found": 404,
    "parameter_out_of_range": 422,
    "rate_limit": 429,
    "concurrent_agent_limit": 429,
    "internal_server_error": 500,
}
#: Codes for missing credits and for limits. They refine any 4xx that had no effect.
LIMIT_CODES = frozenset(code for code, status in ERROR_CODES.items() if status in (402, 429))
_CODE_FIELDS = ("error", "code", "errorcode", "statuscode", "status", "type")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """
    A refusal in the body of a 2xx response.

    :param evidence: The part of the body that refuses, for example ``'success' is false``.
    :param reason: The server's explanation; None if there is none.
    :param code: HTTP status of the same meaning as the error code; None if there is no code.
    :param signs: Names of fields that suggest an effect. If there are any, the body contradicts itself.
    :param ids: Ids that may be those of something new.
    """

    evidence: str
    reason: Any
    code: int | None
    signs: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Signals:
    """
    What in a body suggests that it refuses the call.

    :param failed_flag: Name of the success flag that is false; None if there is none.
    :param code: HTTP status of the same meaning as the error code; None if there is no code.
    :param has_error: Whether ``error`` is set, or there is a code.
    :param status: Normalized ``status``; empty if it is not a text.
    :param has_bad_status: Whether the status is a bad one in the response to the call.
    :param has_errors: Whether ``errors`` is not empty.
    """

    failed_flag: str | None
    code: int | None
    has_error: bool
    status: str
    has_bad_status: bool
    has_errors: bool

    @property
    def refuses_clearly(self) -> bool:
        """Rule 1."""
        return self.failed_flag is not None or (self.has_error and self.status not in _GOOD_STATUSES)

    @property
    def refuses_possibly(self) -> bool:
        """Rule 2."""
        return self.has_bad_status or self.has_errors


def find_refusal(call: Call[Any], data: Any) -> Refusal | None:
    """Return the refusal in the decoded body of a 2xx response; None if the body does not refuse the call."""
    if data is False:
        return Refusal(evidence="its body is false", reason=None, code=None)
    if not isinstance(data, Mapping):
        return None
    body = _normalized(data)
    found = _signals(call, body)
    if not (found.refuses_clearly or found.refuses_possibly):
        return None
    signs: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    if call.method == "GET":
        if not _refuses_read(body, found):
            return None
    else:
        signs, ids = _signs_of_effect(call, data)
        # Rule 4.
        if not found.refuses_clearly and (signs or _repeats_own_status(call, body, found.status)):
            return None
    reason = next((body[name] for name in _REASON_FIELDS if _explains(body.get(name))), None)
    return Refusal(evidence=_evidence(body, found), reason=reason, code=found.code, signs=signs, ids=ids)


def _signals(call: Call[Any], body: Mapping[str, Any]) -> _Signals:
    code = _error_code(body)
    status = _normalize(body["status"]) if isinstance(body.get("status"), str) else ""
    creates = bool(call.makes) or call.path.endswith("/finalize_upload")
    return _Signals(
        failed_flag=_failed_flag(body),
        code=code,
        has_error=code is not None or _is_filled(body.get("error")),
        status=status,
        has_bad_status=status in _BAD_STATUSES or (creates and status in _BAD_STATUSES_OF_NEW),
        has_errors=_is_filled(body.get("errors")),
    )


def _refuses_read(body: Mapping[str, Any], found: _Signals) -> bool:
    """Return whether a body with signals refuses a GET, and is not the run or the post that was read. Rule 5."""
    about_response = (
        found.failed_flag is not None
        or (found.has_error and (not found.status or found.code is not None))
        or (found.status in _BAD_STATUSES_OF_RESPONSES and _has_explanation(body))
    )
    return about_response and all(name in _REFUSAL_FIELDS or not _is_filled(body[name]) for name in body)


def _evidence(body: Mapping[str, Any], found: _Signals) -> str:
    """Return the part of a body that refuses. Clear signals come first."""
    if found.failed_flag is not None:
        return f"'{found.failed_flag}' is false"
    if found.code is not None and body.get("status") == found.code:
        return f"'status' is {found.code}"
    if found.has_error:
        return "'error' is set" if _is_filled(body.get("error")) else "its body has an error code"
    if found.has_bad_status:
        return f"'status' is '{found.status}'"
    return "'errors' is not empty"


def reported_failure(data: Mapping[str, Any]) -> str:
    """Return the part of a body that reports a failure, also beside data; empty if there is none."""
    body = _normalized(data)
    flag = _failed_flag(body)
    if flag is not None:
        return f"'{flag}' is false"
    for name, problem in (("error", "is set"), ("errors", "is not empty")):
        if _is_filled(body.get(name)):
            return f"'{name}' {problem}: {explanation(body[name])}"
    return ""


def without_envelope(data: Any) -> Any:
    """
    Return the object in a body like ``{"success": true, "data": {...}}`` or ``{"run": {...}}``; else the body itself.

    No endpoint documents an envelope. The envelope's own ``status`` must not pass for that of a run or a post. Its
    errors are kept: a list beside them may lack items.
    """
    if isinstance(data, Mapping):
        for name in _ENVELOPES:
            if isinstance(data.get(name), Mapping) and all(_normalize(each) in _ABOUT_RESPONSE for each in data):
                errors = {field: data[field] for field in ("error", "errors") if _is_filled(data.get(field))}
                return {**errors, **data[name]} if errors else data[name]
    return data


def ids_in_success(call: Call[Any], data: Any) -> tuple[str, ...]:
    """Return the ids in the body of a response that may be those of what the call created."""
    return tuple(map(label, _signs_of_effect(call, data)[1])) if call.makes else ()


def ids_in_error(call: Call[Any], data: Any) -> tuple[str, ...]:
    """
    Return the new ids in the body of an error, under the name of the id of what the call makes.

    Lists name other items, for example all active runs.
    """
    sent = frozenset((*call.ids.values(), *texts_in(call.body)))
    name = _normalize(call.makes)
    ids: dict[str, None] = {}
    left = [data]
    while left:
        body = left.pop()
        for field, value in body.items() if isinstance(body, Mapping) else ():
            left.append(value)
            if _normalize(field) == name.removesuffix("id") and isinstance(value, Mapping):
                # {"run": {"id": "..."}}
                field, value = call.makes, value.get("id")
            if name and _normalize(field) == name and _is_new(value, sent):
                ids[label(str(value))] = None
    return tuple(ids)[:_MAX_SIGNS]


def _normalize(name: Any) -> str:
    # No name or status is longer. Replacing in megabytes would block all threads.
    return re.sub(r"[_\-\s]", "", str(name)[:200]).lower()


def _normalized(data: Mapping[Any, Any]) -> dict[str, Any]:
    return {_normalize(name): value for name, value in data.items()}


def _failed_flag(body: Mapping[str, Any]) -> str | None:
    """Return the name of the success flag that is false; None if there is none."""
    return next((name for name in _SUCCESS_FLAGS if _as_flag(body.get(name)) is False), None)


def _as_flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"false": False, "0": False, "true": True, "1": True}.get(value.strip().lower())
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def _is_filled(value: Any) -> bool:
    """
    Return whether a value is neither absent, false, zero nor empty at every depth.

    Some servers send the text "none", "null", "false" or "ok" as the ``error`` of a success. It counts as empty.
    """
    if isinstance(value, Mapping):
        return any(map(_is_filled, value.values()))
    if isinstance(value, list):
        return any(map(_is_filled, value))
    if isinstance(value, str):
        return value.strip().lower() not in ("", "none", "null", "false", "ok")
    return bool(value)


def _explains(value: Any) -> bool:
    return value is not True and _is_filled(value)


def _has_explanation(body: Mapping[str, Any]) -> bool:
    # "errors" is a documented field of a run that failed.
    return any(_explains(body.get(name)) for name in _REASON_FIELDS if name != "errors")


def _error_code(body: Mapping[str, Any]) -> int | None:
    """Return the HTTP status with the meaning of the error code in a body; None if there is no code."""
    if (named := named_code(body)) is not None:
        return ERROR_CODES[named]
    error = body.get("error")
    inner = _normalized(error) if isinstance(error, Mapping) else {}
    values = [error, *(each.get(name) for each in (body, inner) for name in ("code", "errorcode", "statuscode"))]
    for value in (*values, body.get("status"), inner.get("status"), inner.get("type")):
        if isinstance(value, (str, int)) and re.fullmatch("[45][0-9][0-9]", str(value)):
            return int(value)
    return None


def named_code(data: Any) -> str | None:
    """Return the code of :data:`ERROR_CODES` in the body of any response, its ``error`` or its ``detail``."""
    if not isinstance(data, Mapping):
        return None
    body = _normalized(data)
    inner = (_normalized(body[name]) for name in ("error", "detail") if isinstance(body.get(name), Mapping))
    values = [part.get(name) for part in (body, *inner) for name in _CODE_FIELDS]
    codes = [value for value in values if isinstance(value, str) and value in ERROR_CODES]
    # A general code may stand beside the one that names the cause.
    return min(codes, key=lambda code: code not in LIMIT_CODES, default=None)


def _repeats_own_status(call: Call[Any], body: Mapping[str, Any], status: str) -> bool:
    """Return whether the status is that of the run or the post which the call named."""
    own = set(map(id_key, call.ids.values()))
    return (
        status in _OWN_STATUSES
        and call.path.startswith(("/agent_run/", "/social/post/"))
        and any(name.endswith("id") and isinstance(value, str) and id_key(value) in own for name, value in body.items())
    )


def _signs_of_effect(call: Call[Any], data: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields that suggest an effect, and the new ids in these fields."""
    signs: dict[str, None] = {}
    ids: dict[str, None] = {}
    sent = frozenset((*call.ids.values(), *texts_in(call.body)))
    for field, value, is_in_error in _fields_in(data):
        name = _normalize(field)
        if call.makes and _may_be_new_id(call, name) and not (is_in_error and name == "id"):
            new = [str(each) for each in (value if isinstance(value, list) else [value]) if _is_new(each, sent)]
            ids.update(dict.fromkeys(new))
            is_sign = bool(new)
        else:
            # "run": "..." in the response to a call that makes a "run_id".
            is_made = bool(call.makes) and name == _normalize(call.makes).removesuffix("id") and _is_new(value, sent)
            is_sign = is_made or _is_sign(name, value, sent)
        if is_sign:
            signs[field] = None
    return tuple(signs)[:_MAX_SIGNS], tuple(ids)[:_MAX_SIGNS]


def _may_be_new_id(call: Call[Any], name: str) -> bool:
    return name == _normalize(call.makes) or (name.endswith(("id", "ids")) and name not in _OLD_IDS)


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts in the body of a request, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(inner)


def _fields_in(value: Any, *, is_in_error: bool = False, depth: int = _MAX_DEPTH) -> Iterator[tuple[str, Any, bool]]:
    """Yield the fields at any depth: name, value, and whether the field is part of an error."""
    if depth and isinstance(value, list):
        for item in value[:_MAX_ITEMS]:
            yield from _fields_in(item, is_in_error=is_in_error, depth=depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner, is_in_error
            in_error = is_in_error or _normalize(key) in ("error", "errors", "detail")
            yield from _fields_in(inner, is_in_error=in_error, depth=depth - 1)


def _is_new(value: Any, sent: Collection[str]) -> bool:
    is_id = isinstance(value, (str, int)) and not isinstance(value, bool)
    return is_id and _is_filled(value) and str(value) not in sent


def _is_sign(name: str, value: Any, sent: Collection[str]) -> bool:
    if name in _SUCCESS_FLAGS:
        return _as_flag(value) is True
    if name == "status":
        return _normalize(value) in _GOOD_STATUSES
    if name in _DONE_FIELDS:
        return _is_filled(value)
    if name.endswith("url") and not _HELP_LINKS.search(name):
        return isinstance(value, str) and _is_filled(value) and value not in sent
    return False
