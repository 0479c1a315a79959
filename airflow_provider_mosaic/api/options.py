"""
The options of operators and sensors: their choices, and one validator for each.

The same validators check the constants of a DAG file while it is parsed, and all options when a task runs. Every DAG
file with an operator loads this module, so it imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any, Literal, get_args

from airflow_provider_mosaic.api.arguments import (
    ListOf,
    Validator,
    not_text,
    one_of,
    optional,
    raise_invalid,
    uri_scheme,
    validate_credits,
    validate_datetime,
    validate_flag,
    validate_id,
    validate_integer,
    validate_mapping,
    validate_name,
    validate_path,
    validate_seconds,
    validate_text,
    validate_url,
)
from airflow_provider_mosaic.api.media_types import AssetType, media_type_of
from airflow_provider_mosaic.api.post_options import validate_provider_options
from airflow_provider_mosaic.api.run_inputs import SOURCES, validate_params, validate_video_inputs

#: How a task ends after a partial success.
OnPartial = Literal["warn", "fail", "skip"]
OnRetry = Literal["resume", "new", "fail"]
OnAmbiguous = Literal["adopt", "fail"]
OnShortOfCredits = Literal["fail", "skip"]
UnknownNodes = Literal["keep", "remove"]
AssetKind = Literal["video", "audio", "image"]
#: The parts of an output.
OutputPart = Literal["video", "image", "audio", "thumbnail", "premiere"]
#: The platforms that Mosaic documents.
Platform = Literal["x", "linkedin", "instagram", "facebook", "tiktok", "youtube"]
#: The final statuses of a run, in the API's words.
EndStatus = Literal["completed", "partial_complete", "failed", "cancelled"]

DEFINITION_SUFFIXES = (".yaml", ".yml", ".json")
#: The ``callback_url`` that stands for the webhook receiver inside Airflow.
AIRFLOW_CALLBACK = "airflow"
#: The ``callback_url`` that keeps the present one.
KEEP_CALLBACK = "unchanged"
# A format such as ">12" or "03d" is fine.
_WIDE = re.compile(r"[0-9]{3}|[{]")
# Mosaic may add platforms, so only a name that is this similar to a known one is a typo.
_TYPO_SIMILARITY = 0.75


def validate_platform(name: str, value: Any) -> str:
    """Return a platform in lower case. A platform that Mosaic does not document is accepted."""
    platform = validate_id(name, value).lower()
    platforms = get_args(Platform)
    if platform not in platforms:
        from airflow_provider_mosaic.api.error_collector import suggest

        hint = suggest(platform, platforms, similarity=_TYPO_SIMILARITY)
        if hint:
            raise_invalid(name, value, f"Mosaic documents {', '.join(platforms)}.{hint}")
    return platform


def validate_profile_name(name: str, value: Any) -> str:
    """Return the name of an avatar profile. Raise MosaicValidationError if it is empty."""
    if not isinstance(value, str):
        raise_invalid(name, value, f"a profile needs a name as text, {not_text(value)}")
    if not value.strip():
        raise_invalid(name, value, "a profile needs a name.")
    return value


def validate_destination(name: str, value: Any) -> str:
    """Return a directory, or a URI of object storage, as text."""
    text = validate_path(name, value)
    if uri_scheme(text) in ("http", "https"):
        raise_invalid(name, text, "files can't be written to an HTTP(S) URL; give a path or s3://... .")
    return text


def validate_filename(name: str, value: Any) -> str:
    """Return a template of file names."""
    format_filename(name, value, output_id="0" * 8, run_id="0" * 8, index=0, part="video", suffix=".mp4")
    return str(value)


def format_filename(name: str, template: Any, **fields: Any) -> str:
    """
    Return the name of a file, which may contain directories.

    :param fields: ``output_id``, ``run_id``, ``index``, ``part`` and ``suffix``.
    """
    try:
        for _, field, spec, _ in Formatter().parse(template):
            # An attribute of a field is no part of a name. A width of many digits would fill the memory.
            if field is not None and (field not in fields or _WIDE.search(spec or "")):
                raise KeyError(f"{field}:{spec}" if spec else field)
        filename = str(template.format(**fields))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise_invalid(
            name,
            template,
            f"it may contain {{output_id}}, {{run_id}}, {{index}}, {{part}} and {{suffix}} ({error!r}).",
        )
    if not filename.strip("/ ") or filename.startswith("/") or ".." in filename.split("/"):
        raise_invalid(name, template, "it must give the name of a file below the destination.")
    if "\0" in filename or filename.encode("utf-8", "ignore").decode() != filename:
        raise_invalid(name, template, "it must give a name in UTF-8, without NUL characters.")
    return filename


def validate_callback(name: str, value: Any) -> str:
    """Return the URL of a webhook receiver. Raise MosaicValidationError if it would expose the webhook secret."""
    return validate_url(name, value, secure=True)


def validate_task_callback(name: str, value: Any) -> str:
    """Return the URL of a webhook receiver, or ``airflow`` for the one inside Airflow."""
    return AIRFLOW_CALLBACK if value == AIRFLOW_CALLBACK else validate_callback(name, value)


def validate_trigger_callback(name: str, value: Any) -> str | None:
    """Return what :func:`validate_task_callback` returns, None to remove the URL, or ``unchanged`` to keep it."""
    return value if value is None or value == KEEP_CALLBACK else validate_task_callback(name, value)


def validate_channel(name: str, value: Any) -> str:
    """Return a YouTube channel: its id, handle or URL."""
    return validate_id(name, value, or_link=True)


def validate_filter_options(name: str, value: Any) -> dict[str, Any]:
    """
    Return the filter of a YouTube trigger.

    :raises MosaicValidationError: It has more than ``{"duration": {"min_seconds": ..., "max_seconds": ...}}``, or a
        limit is wrong.
    """
    options = validate_mapping(name, value)
    unknown = set(options) - {"duration"}
    if unknown:
        raise_invalid(name, value, f"{', '.join(sorted(unknown))} is unknown: it may only contain duration.")
    duration = options.get("duration")
    if duration is not None and (not isinstance(duration, Mapping) or set(duration) - {"min_seconds", "max_seconds"}):
        raise_invalid(name, value, "its duration must be an object with min_seconds, max_seconds, or both.")
    validate_duration_limits(duration or {}, prefix=f"{name}.duration.")
    return options


def validate_duration_limits(limits: Mapping[str, Any], *, prefix: str = "") -> dict[str, int]:
    """
    Return the limits of a duration, ``min_seconds`` and ``max_seconds``, that are not None.

    :param prefix: Precedes their names in an error.
    """
    seconds = {
        key: validate_integer(f"{prefix}{key}", limit, " of seconds", in_object=bool(prefix))
        for key, limit in limits.items()
        if limit is not None
    }
    if len(seconds) == 2 and seconds["min_seconds"] > seconds["max_seconds"]:
        raise_invalid(
            f"{prefix}min_seconds", seconds["min_seconds"], f"it is more than max_seconds={seconds['max_seconds']}."
        )
    return seconds


def validate_definition_source(name: str, value: Any) -> Any:
    """Return the definition of an agent: an object, JSON text, or a path. Its content is not validated here."""
    if is_definition_itself(value):
        return validate_mapping(name, value)
    validate_definition_suffix(name, value)
    path = validate_path(name, value)
    if uri_scheme(path) in ("http", "https"):
        raise_invalid(name, path, "a definition can't be read from an HTTP(S) URL; give a path or s3://... .")
    return path


def is_definition_itself(value: Any) -> bool:
    """Return whether a definition is given as an object or as JSON text, and not as the path of a file."""
    return isinstance(value, Mapping) or (isinstance(value, str) and value.lstrip().startswith("{"))


def validate_definition_suffix(name: str, value: Any) -> None:
    """Raise MosaicValidationError unless a path has the suffix of a definition file."""
    if not str(value).lower().endswith(DEFINITION_SUFFIXES):
        raise_invalid(
            name, value, f"it must be an object (dict) or the path of a file ({', '.join(DEFINITION_SUFFIXES)})."
        )


validate_on_partial = one_of(OnPartial)
validate_asset_kind = one_of(AssetKind)
validate_end_status = one_of(EndStatus)
validate_parts = ListOf(one_of(OutputPart))
validate_platforms = ListOf(validate_platform)
validate_channels = ListOf(validate_channel)

# Combinations


def validate_destinations_of_post(social_connection_ids: Any, platforms: Any) -> None:
    """Raise MosaicValidationError unless a post has exactly one kind of destinations."""
    if social_connection_ids is None and platforms is None:
        raise_invalid(
            "social_connection_ids", None, "the post has no destination: give social_connection_ids or platforms."
        )
    if social_connection_ids is not None and platforms is not None:
        raise_invalid(
            "platforms",
            platforms,
            "give it or social_connection_ids, not both: Mosaic does not document what both together mean.",
        )


def validate_media_of_post(*, run_id: Any, media_urls: Any, output_ids: Any) -> None:
    """Raise MosaicValidationError if a post has media from two places, or ``output_ids`` without a run."""
    if run_id is not None and media_urls is not None:
        raise_invalid("media_urls", media_urls, "give it or run_id, not both.")
    if run_id is None and output_ids is not None:
        raise_invalid("output_ids", output_ids, "it needs run_id, the run that rendered them.")


def validate_post_has_content(text: str, *, has_media: bool) -> None:
    """Raise MosaicValidationError if a post is empty."""
    if not has_media and not text.strip():
        raise_invalid("text", text, "the post has neither text nor media.")


def validate_avatar_sources(sources: Mapping[str, Any]) -> None:
    """Raise MosaicValidationError unless an avatar profile has a video, or an image and audio, each given once."""
    given = set()
    for kind in ("video", "image", "audio"):
        url, asset_id = sources.get(f"{kind}_url"), sources.get(f"{kind}_id")
        if url is not None and asset_id is not None:
            raise_invalid(f"{kind}_id", asset_id, f"give it or {kind}_url, not both.")
        if url is not None or asset_id is not None:
            given.add(kind)
    if "video" not in given and not {"image", "audio"} <= given:
        raise_invalid("video_url", None, "a profile needs a video, or an image and audio.")


def validate_file_kind(source: str, asset_type: Any) -> None:
    """
    Raise MosaicValidationError if Mosaic does not accept a file with this suffix.

    :param source: A path or a URI. The name of a file behind an HTTP(S) URL is known only when the task runs.
    """
    if uri_scheme(source) not in ("http", "https") and "?" not in source:
        media_type_of(source, None if asset_type is None else AssetType(asset_type))


def validate_agent_is_named(agent_id: Any, name: Any) -> None:
    """Raise MosaicValidationError if neither an id nor a definition's name identifies the agent."""
    if agent_id is None and (name is None or (isinstance(name, str) and not name.strip())):
        raise_invalid("agent_id", agent_id, "neither it nor the definition's name identifies the agent.")


# A validator for each option of each class

CONNECTION: Mapping[str, Validator] = {"mosaic_conn_id": validate_name}
POLLING: Mapping[str, Validator] = {**CONNECTION, "deferrable": validate_flag, "poll_interval": validate_seconds}
WAITING: Mapping[str, Validator] = {
    **POLLING,
    "wait_for_completion": validate_flag,
    "timeout": optional(validate_seconds),
    "on_partial": validate_on_partial,
}
RUN_AGENT: Mapping[str, Validator] = {
    **WAITING,
    "agent_id": validate_id,
    **{form: optional(validator) for form, validator in SOURCES.items()},
    "video_inputs": optional(validate_video_inputs),
    "update_params": optional(validate_params),
    "ignore_nodes": optional(ListOf(validate_id)),
    "callback_url": optional(validate_task_callback),
    "durable": validate_flag,
    "on_retry": one_of(OnRetry),
    "on_ambiguous": one_of(OnAmbiguous),
    "cancel_on_kill": validate_flag,
    "min_credits": optional(validate_credits),
    "on_short_of_credits": one_of(OnShortOfCredits),
}
RESUME_RUN: Mapping[str, Validator] = {**WAITING, "run_id": validate_id, "cancel_on_kill": validate_flag}
CANCEL_RUN: Mapping[str, Validator] = {**CONNECTION, "run_id": validate_id}
UPLOAD: Mapping[str, Validator] = {**CONNECTION, "source": validate_path, "asset_type": optional(validate_asset_kind)}
DOWNLOAD: Mapping[str, Validator] = {
    **CONNECTION,
    "run_id": validate_id,
    "destination": validate_destination,
    "include": validate_parts,
    "filename": validate_filename,
    "overwrite": validate_flag,
}
POST: Mapping[str, Validator] = {
    **WAITING,
    "text": validate_text,
    "social_connection_ids": optional(ListOf(validate_id)),
    "platforms": optional(validate_platforms),
    "media_urls": optional(ListOf(validate_url)),
    "run_id": optional(validate_id),
    "output_ids": optional(ListOf(validate_id)),
    # A date in the past fails only when the task runs: DAG files are parsed for years.
    "schedule_date": optional(validate_datetime),
    "workspace_id": optional(validate_id),
    "provider_options": optional(validate_provider_options),
    "durable": validate_flag,
}
POST_ANALYTICS: Mapping[str, Validator] = {
    **CONNECTION,
    "post_id": validate_id,
    "social_connection_id": optional(validate_id),
}
AVATAR_PROFILE: Mapping[str, Validator] = {
    **CONNECTION,
    "name": validate_profile_name,
    **{f"{kind}_url": optional(validate_url) for kind in ("video", "image", "audio")},
    **{f"{kind}_id": optional(validate_id) for kind in ("video", "image", "audio")},
    "durable": validate_flag,
}
YOUTUBE_TRIGGER: Mapping[str, Validator] = {
    **CONNECTION,
    "agent_id": validate_id,
    "youtube_channels": validate_channels,
    "filter_options": optional(validate_filter_options),
    "callback_url": validate_trigger_callback,
    "exclusive": validate_flag,
}
APPLY_AGENT: Mapping[str, Validator] = {
    **CONNECTION,
    "definition": validate_definition_source,
    "agent_id": optional(validate_id),
    "unknown_nodes": one_of(UnknownNodes),
    "dry_run": validate_flag,
    "durable": validate_flag,
}
RUN_SENSOR: Mapping[str, Validator] = {
    **POLLING,
    "run_id": validate_id,
    "on_partial": validate_on_partial,
    "start_from_trigger": validate_flag,
}
POST_SENSOR: Mapping[str, Validator] = {**POLLING, "post_id": validate_id, "on_partial": validate_on_partial}
AVATAR_PROFILE_SENSOR: Mapping[str, Validator] = {**POLLING, "avatar_profile_id": validate_id}
CREDITS_SENSOR: Mapping[str, Validator] = {**POLLING, "min_credits": validate_credits}
