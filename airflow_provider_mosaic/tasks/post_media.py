"""The media of a post: links that work when the post is published, and outputs of a run that are complete."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api.arguments import format_time, id_key, raise_invalid, validate_datetime
from airflow_provider_mosaic.api.candidates import SKEW
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.errors import MosaicRunFailedError, MosaicRunPartialError
from airflow_provider_mosaic.api.file_links import expiry_of, fingerprint
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.redaction import remember_ids
from airflow_provider_mosaic.api.reports import still_running_error
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.run_ends import with_outputs

if TYPE_CHECKING:
    from airflow_provider_mosaic.tasks.posts import PostOptions

#: How long the link to an output works, by the documentation of GET /agent_run/{run_id}.
_OUTPUT_LINK_LIFETIME = timedelta(days=7)
_LINK = re.compile(r"""https?://[^\s'"<>]+""", re.IGNORECASE)


def media_links(hook: MosaicHook, options: PostOptions) -> Any:
    """
    Return links to the media of a post. Links to outputs are fetched now, so that they work as long as possible.

    :raises MosaicValidationError: A link expires before the post is published, or there is no such output.
    :raises MosaicRunFailedError: The outputs of the run are not complete.
    """
    schedule_date = options.content["schedule_date"]
    now = datetime.now(timezone.utc)
    # For a post without a schedule, our clock and the signer's may differ.
    due = now - SKEW if schedule_date is None else validate_datetime("schedule_date", schedule_date)
    given = {"media_urls": options.media_urls, "provider_options": options.content["provider_options"]}
    for name, value in given.items():
        for link in _links_in(value):
            _check_expiry(name, link, link, until=due)
    if options.run_id is None:
        return options.media_urls
    if due - now > _OUTPUT_LINK_LIFETIME:
        raise_invalid(
            "schedule_date",
            schedule_date,
            "the links to a run's outputs last 7 days, and the media must be reachable when the post is published. "
            "Nothing was posted. Copy them to your own hosting and set media_urls.",
        )
    links = []
    run = with_outputs(hook, hook.get_run(options.run_id))
    remember_ids(run.run_id, *run.output_ids)
    for output_id, link in _outputs_to_post(run, options.output_ids):
        # It is not documented whether the 7 days start with each read.
        _check_expiry("output_ids", output_id, link, until=due)
        links.append(link)
    return links


def _outputs_to_post(run: Run, output_ids: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    """Yield each output with its link: the outputs that are named, or all outputs of a completed run."""
    if output_ids is None:
        _check_complete(run)
        # Not by id: it may be missing.
        media = [(output.output_id or f"output {i}", output.media_url) for i, output in enumerate(run.outputs)]
    else:
        media = [(output_id, _link_of(run, output_id)) for output_id in output_ids]
    if not media:
        raise_invalid("run_id", run.run_id, "the run has no outputs to post.")
    for output_id, link in media:
        if not link:
            why = f"run {run.run_id!r} has no such output with a file; it has:"
            raise_invalid("output_ids", output_id, why, rows=run.output_ids or ["none"])
        yield output_id, link


def _link_of(run: Run, output_id: str) -> str | None:
    """Return the link to an output, also if its id is spelled in another way. Raise if several outputs have the id."""
    found = [output for output in run.outputs if output.output_id == output_id]
    found = found or [output for output in run.outputs if id_key(output.output_id) == id_key(output_id)]
    # The same output may be listed twice, each time with a new signature, or once without its link.
    links = {fingerprint(output.media_url): output.media_url for output in found if output.media_url}
    if len(links) > 1:
        why = f"run {run.run_id!r} has several outputs with this id. Nothing was posted. Set media_urls instead."
        raise_invalid("output_ids", output_id, why)
    return next(iter(links.values()), None)


def _links_in(value: Any) -> Iterator[str]:
    """Yield the links in an argument, also if a template rendered it to text."""
    if isinstance(value, str):
        yield from _LINK.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _links_in(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _links_in(item)


def _check_expiry(argument: str, value: str, link: str, *, until: datetime) -> None:
    """Raise for a link that expires before the post is published."""
    expiry = expiry_of(link)
    if expiry is not None and expiry < until:
        raise_invalid(
            argument,
            value,
            f"the link expires at {format_time(expiry)}, before the post is published: its media would be missing. "
            "Nothing was posted. Use a link that lasts longer, such as one to your own hosting.",
        )


def _check_complete(run: Run) -> None:
    """
    Raise if the outputs of a run are not complete. A retry may find them, unless the run ended partly.

    :raises MosaicRunFailedError: The run has not ended, or it did not complete.
    """
    outcome = run_outcome(run)
    if not outcome.ended:
        raise still_running_error(run, before="its outputs are posted, or set output_ids")
    if outcome.outcome is Outcome.PARTIAL:
        raise MosaicRunPartialError(
            f"Run {run.run_id!r} ended partly, with {len(run.outputs)} output(s).",
            means="Nothing was posted.",
            to_do="To post only the outputs that exist, name them in output_ids.",
            run_id=run.run_id,
        )
    if outcome.outcome is Outcome.FAILED:
        raise MosaicRunFailedError(
            f"Run {run.run_id!r} is {run.status}. Its outputs are posted only if output_ids names them.",
            to_do="Resume it, or post another run.",
            run_id=run.run_id,
        )
