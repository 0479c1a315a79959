"""Runs of agents: start, read, cancel, resume, list (https://docs.mosaic.so/api/agent-runs/post-agent-run)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import AliasChoices, Field, field_validator

from airflow_provider_mosaic.api.arguments import id_key, validated_values
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse, RetrySafety
from airflow_provider_mosaic.api.models import (
    Count,
    Flag,
    Id,
    Label,
    Many,
    Model,
    NodeType,
    Status,
    Time,
    Words,
    id_in,
    object_in,
    status_words,
)
from airflow_provider_mosaic.api.options import RUN_AGENT, validate_callback
from airflow_provider_mosaic.api.paging import Listing, filters, paged, read_list, read_page
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.api.run_inputs import validate_one_way

#: Seconds. The server may check the inputs before it responds.
_START_TIMEOUT = 120.0

#: ``triggered_by`` of a run that no trigger started: null today; in 2025 an object with one of these types.
_NOT_TRIGGERS = frozenset({"manual", "api"})
#: Fields of that object. An object without a type that has only these is not from a trigger either.
_FIELDS_OF_MANUAL_RUNS = frozenset({"source", "user_id", "triggered_at"})


class RunStatus(str, enum.Enum):
    """Documented statuses of a run. Any other status is kept as text, and means that the run is still running."""

    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL_COMPLETE = "partial_complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: The status of a row without one that can be read.
UNKNOWN = "unknown"
#: Other spellings of the documented statuses.
RUN_STATUS_WORDS = status_words(
    running="",
    completed="complete success successful succeeded finished done",
    partial_complete="partial partially_complete partial_completed partially_completed completed_partially "
    "partial_success partially_succeeded partially_successful partially_finished partial_failure partially_failed "
    "completed_with_errors completed_with_failures finished_with_errors finished_with_failures",
    failed="fail failure error errored timed_out timedout timeout time_out crashed expired killed",
    cancelled="canceled aborted stopped terminated",
)


class NodeCounts(Model):
    """Number of nodes of a run by status."""

    completed: Count = 0
    in_progress: Count = 0
    failed: Count = 0

    def __str__(self) -> str:
        return f"{self.completed} completed, {self.in_progress} in progress, {self.failed} failed"


class NodeErrors(Model):
    """Error messages of one node of the agent."""

    original_node_id: Label | None = None
    messages: Many[str] = ()

    @field_validator("messages", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        items = [value] if isinstance(value, (str, Mapping)) else value
        return [_message(item) for item in items] if isinstance(items, list) else items


class RunInput(Model):
    """An input of a run. Its links are signed and expire."""

    video_url: Words = Field(default=None, validation_alias=AliasChoices("video_url", "file_url"))
    image_url: Words = None
    audio_url: Words = None
    thumbnail_url: Words = None


class Output(Model):
    """
    An output of a run.

    ``output_id`` (``id`` in the API) can be an input of a later run (``node_render_ids``). Links are signed and expire:
    ``video_url`` after 7 days, the others after an undocumented time. Read the run again for new links.

    The outputs of generation tiles are not documented: an image or audio may be behind ``video_url``, or behind its own
    field.
    """

    output_id: Label = Field(default="", validation_alias=AliasChoices("id", "output_id"))
    video_url: Words = Field(default=None, validation_alias=AliasChoices("video_url", "file_url", "media_url", "url"))
    image_url: Words = None
    audio_url: Words = None
    thumbnail_url: Words = None
    premiere_prproj_url: Words = None
    original_node_id: Label | None = None
    completed_at: Time = None
    sources: Many[dict[str, Any]] = ()

    lenient_fields = frozenset({"sources"})

    @field_validator("output_id")
    @classmethod
    def _link_is_no_id(cls, value: str) -> str:
        return "" if "://" in value else value

    @property
    def media_field(self) -> str | None:
        """Name of the field with the link to the video, image or audio; None if there is no link yet."""
        return next((name for name in ("video_url", "image_url", "audio_url") if getattr(self, name)), None)

    @property
    def media_url(self) -> str | None:
        """Link to the video, image or audio; None if there is no link yet."""
        return getattr(self, self.media_field) if self.media_field else None


class Run(Model):
    """
    A run of an agent. Rows of lists have no ``errors`` and no ``needs_credits``, and may have the status ``unknown``.

    ``status`` is the documented spelling. If the API reported another one, ``reported_status`` has it.
    """

    run_id: Id = Field(validation_alias=AliasChoices("run_id", "agent_state_id", "id"))
    status: Status
    reported_status: Status | None = None
    agent_id: Label | None = None
    status_message: Words = None
    started_at: Time = None
    updated_at: Time = None
    needs_credits: Flag = Field(default=False, validation_alias=AliasChoices("needs_credits", "needsCredits"))
    node_status_counts: NodeCounts = Field(default_factory=NodeCounts)
    errors: Many[NodeErrors] = ()
    inputs: Many[RunInput] = ()
    outputs: Many[Output] = ()
    triggered_by: dict[str, Any] | None = None

    documented_statuses = RUN_STATUS_WORDS
    # Outputs are not lenient: without them a run would seem to have rendered nothing.
    lenient_fields = frozenset({"node_status_counts", "errors", "inputs", "triggered_by"})

    @field_validator("triggered_by", mode="before")
    @classmethod
    def _text_is_type(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @field_validator("errors", mode="before")
    @classmethod
    def _as_node_errors(cls, value: Any) -> Any:
        items = [value] if isinstance(value, (str, dict)) else value
        if not isinstance(items, list):
            return items
        return [{"messages": [item]} if isinstance(item, str) else item for item in items]

    @property
    def output_ids(self) -> list[str]:
        """Ids of the outputs, in the API's order."""
        return [output.output_id for output in self.outputs if output.output_id]

    @property
    def by_trigger(self) -> bool:
        """Whether a trigger may have started the run, and not a request or a user."""
        if "triggered_by" in self._unreadable:
            return True
        by = {name: value for name, value in (self.triggered_by or {}).items() if value is not None}
        if "type" in by:
            return str(by["type"]).lower() not in _NOT_TRIGGERS
        return not by.keys() <= _FIELDS_OF_MANUAL_RUNS


class ListedRun(Run):
    """
    A row of a list of runs. Only its id is required, so that one odd row does not hide the others.

    Any other field that can't be parsed counts as absent, also ``outputs``: read the run with :func:`get_run`.
    """

    status: Status = UNKNOWN

    lenient_fields = frozenset(Run.model_fields) - {"run_id"}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ListedRun:
        """Read a row. An empty status counts as absent."""
        return cls.model_validate({**row, "status": row.get("status") or None})


class RunNode(Model):
    """A node of a run. ``original_node_id`` is the node of the agent that it was copied from."""

    agent_node_id: Label | None = None
    original_node_id: Label | None = None
    status: Status = UNKNOWN
    status_message: Words = None
    errors: Many[str] = ()
    node_type: NodeType = Field(default_factory=NodeType)
    needs_credits: Flag = Field(default=False, validation_alias=AliasChoices("needs_credits", "needsCredits"))

    documented_statuses = {**RUN_STATUS_WORDS, **status_words(not_started="", queued="", blocked="")}
    lenient_fields = frozenset({"agent_node_id", "original_node_id", "status", "errors", "node_type"})

    @field_validator("errors", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return [_message(item) for item in value] if isinstance(value, list) else value


class Resumed(Model):
    """Result of a resume."""

    run_id: Words = None
    nodes_queued: Count = 0
    nodes_considered: Count = 0


class Cancelled(Model):
    """Result of a cancel."""

    run_id: Words = None
    tasks_cancelled: Count = 0
    nodes_reset: Count = 0
    message: Words = None

    @property
    def had_no_effect(self) -> bool:
        """Whether the response reports that nothing was cancelled, as for a run that had ended already."""
        is_reported = {"tasks_cancelled", "nodes_reset"} <= self.model_fields_set
        return is_reported and not (self.tasks_cancelled or self.nodes_reset)


def _message(item: Any) -> str:
    return str(item.get("message") or item.get("messages") or item) if isinstance(item, Mapping) else str(item)


def start_run(
    agent_id: str,
    *,
    video_urls: Iterable[str] | str | None = None,
    video_ids: Iterable[str] | str | None = None,
    node_render_ids: Iterable[str] | str | None = None,
    mimir_assets: Iterable[Mapping[str, Any]] | str | None = None,
    video_inputs: Iterable[Mapping[str, Any]] | str | None = None,
    update_params: Mapping[str, Mapping[str, Any]] | str | None = None,
    ignore_nodes: Iterable[str] | str | None = None,
    callback_url: str | None = None,
) -> Call[str]:
    """
    Start a run of an agent and return the run id. **It costs credits, and so does a second run.**

    An agent with one Video Input tile takes any of the first four arguments. An agent with several takes
    ``video_inputs`` instead. An agent that only generates takes no input.
    API page: https://docs.mosaic.so/api/agent-runs/post-agent-run

    :param video_urls: YouTube or HTTP(S) URLs of videos.
    :param video_ids: Asset ids of videos.
    :param node_render_ids: Ids of outputs of earlier runs.
    :param mimir_assets: Items of a connected Mimir: ``{"id": ..., "artifact": "highres" | "proxy" | "auto"}``.
    :param video_inputs: One object for each Video Input tile: ``agent_node_id`` and at least one of the four lists
        above; to use only a part of the source, ``input_clip_start_ms`` and ``input_clip_end_ms``.
    :param update_params: Parameters for this run only: ``{agent_node_id: {name: value}}``. The hook and the operator
        also accept the name of a tile for its id.
    :param ignore_nodes: Ids of nodes to bypass.
    :param callback_url: URL that receives the webhooks of this run. Only the operator accepts ``airflow`` for it.
    :raises MosaicNeedsCreditsError: There are not enough credits. No run was started.
    :raises MosaicAmbiguousOutcomeError: A run may have been started and paid. Look for it with :func:`list_runs`.
    """
    body = validated_values(
        # Only a task can resolve "airflow".
        {**RUN_AGENT, "callback_url": validate_callback},
        video_urls=video_urls,
        video_ids=video_ids,
        node_render_ids=node_render_ids,
        mimir_assets=mimir_assets,
        video_inputs=video_inputs,
        update_params=update_params,
        ignore_nodes=ignore_nodes,
        callback_url=callback_url,
    )
    validate_one_way(video_inputs, body)
    return Call(
        description=f"start a run of agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/run",
        makes="run_id",
        ids={"agent_id": agent_id},
        body=body,
        read=lambda data: id_in(data, "run_id", "agent_state_id"),
        retry_safety=RetrySafety.HAS_EFFECTS,
        min_timeout=_START_TIMEOUT,
    )


def get_run(run_id: str) -> Call[Run]:
    """
    Return a run: its status, errors, inputs and outputs.

    Whether each response has new links is not documented.
    API page: https://docs.mosaic.so/api/agent-runs/get-agent-run
    """

    def read(data: Any) -> Run:
        body = object_in(data)
        # The documented response has no run id. An "id" in it would be that of something else.
        shown = body.get("run_id")
        if isinstance(shown, str) and id_key(shown) != id_key(run_id):
            # A cache or a proxy has mixed up responses.
            raise InvalidResponse(f"the 'run_id' is that of another run: {label(shown)!r}")
        return Run.model_validate({**body, "run_id": run_id})

    return Call(
        description=f"read run {run_id!r}",
        path="/agent_run/{run_id}",
        ids={"run_id": run_id},
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def get_run_nodes(run_id: str) -> Call[tuple[RunNode, ...]]:
    """
    Return the nodes of a run, each with its status and errors.

    API page: https://docs.mosaic.so/api/agent-runs/get-agent-run-nodes
    """
    return Call(
        description=f"read the nodes of run {run_id!r}",
        path="/agent_run/{run_id}/nodes",
        ids={"run_id": run_id},
        read=read_list("nodes", RunNode),
        max_bytes=MAX_BYTES_OF_MANY,
    )


def cancel_run(run_id: str) -> Call[Cancelled]:
    """
    Cancel a run. Its unfinished nodes stop. Whether Mosaic refunds credits is not documented.

    API page: https://docs.mosaic.so/api/agent-runs/post-agent-run-cancel

    :raises MosaicConflictError: The run has already ended.
    """
    return Call(
        description=f"cancel run {run_id!r}",
        method="POST",
        path="/agent_run/{run_id}/cancel",
        ids={"run_id": run_id},
        read=lambda data: Cancelled.model_validate(data or {}),
    )


def resume_run(run_id: str) -> Call[Resumed]:
    """
    Resume a failed or cancelled run under the same run id.

    Nodes that failed, were cancelled, blocked or not started are queued again. What a resume costs is not documented.
    API page: https://docs.mosaic.so/api/agent-runs/post-agent-run-resume

    :raises MosaicConflictError: The run is not failed or cancelled.
    :raises MosaicAmbiguousOutcomeError: The run may have been resumed. Read it with :func:`get_run`.
    """
    return Call(
        description=f"resume run {run_id!r}",
        method="POST",
        path="/agent_run/{run_id}/resume",
        ids={"run_id": run_id},
        read=lambda data: Resumed.model_validate(data or {}),
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def list_runs(
    agent_id: str | None = None,
    *,
    status: Iterable[str] | str | None = None,
    created_from: datetime | str | None = None,
    created_to: datetime | str | None = None,
) -> Listing[Run]:
    """
    List the runs of one agent, or of all agents. The order is not documented.

    API pages: https://docs.mosaic.so/api/agent-runs/get-agent-runs,
    https://docs.mosaic.so/api/agent-runs/get-all-agent-runs

    :param agent_id: None lists the runs of all agents.
    :param status: Only runs with one of these statuses.
    :param created_from: Only runs created at this time or later, with a time zone.
    :param created_to: Only runs created at this time or earlier, with a time zone.
    """
    return paged(
        "list the runs" if agent_id is None else f"list the runs of agent {agent_id!r}",
        "/agent_runs" if agent_id is None else "/agent/{agent_id}/runs",
        ids={} if agent_id is None else {"agent_id": agent_id},
        query=filters(status=status, created_from=created_from, created_to=created_to),
        read=read_page("runs", ListedRun.from_row),
        key=lambda run: run.run_id,
    )
