"""Runs of agents: start, follow, cancel, resume, list (https://docs.mosaic.so/api/agent-runs/post-agent-run)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import AliasChoices, Field, field_validator

from airflow_provider_mosaic.api.arguments import joined_statuses, optional_moment, validate_ids
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, RetrySafety
from airflow_provider_mosaic.api.endpoints.node_types import NodeType
from airflow_provider_mosaic.api.models import (
    Count,
    Flag,
    Id,
    Label,
    Many,
    Model,
    Status,
    Time,
    Words,
    id_in,
    list_in,
    object_in,
    status_words,
)
from airflow_provider_mosaic.api.options import validate_callback
from airflow_provider_mosaic.api.paging import Listing, paged, read_page
from airflow_provider_mosaic.api.run_inputs import validate_params, validate_videos

#: Seconds to wait for the answer to a start: the server may look at the inputs first.
_START_PATIENCE = 120.0

#: What ``triggered_by`` may say of a run that no trigger started (the API's documentation of 2025; since then: null).
_BY_PERSON = frozenset({"manual", "api"})
_WHO_ASKED = frozenset({"source", "user_id", "triggered_at"})


class RunStatus(str, enum.Enum):
    """The documented statuses of a run; any other is kept as the text it is."""

    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL_COMPLETE = "partial_complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Other words for them, in any case. What is not among them means that a run is still going on.
RUN_STATUS_WORDS = status_words(
    running="",
    completed="complete success successful succeeded finished done",
    partial_complete="partially_complete partial_completed partially_completed partial_success partial",
    failed="fail failure error errored timed_out timedout timeout time_out crashed",
    cancelled="canceled aborted",
)


class NodeCounts(Model):
    """How many nodes of a run are done, at work, and failed."""

    completed: Count = 0
    in_progress: Count = 0
    failed: Count = 0

    def __str__(self) -> str:
        return f"{self.completed} completed, {self.in_progress} in progress, {self.failed} failed"


class NodeErrors(Model):
    """What failed at a node of the agent."""

    original_node_id: Label | None = None
    messages: Many[str] = ()

    @field_validator("messages", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        items = [value] if isinstance(value, (str, Mapping)) else value
        return [_message(item) for item in items] if isinstance(items, list) else items


class RunInput(Model):
    """An input of a run; its links are signed and expire."""

    video_url: Words = None
    image_url: Words = None
    audio_url: Words = None
    thumbnail_url: Words = None


class Output(Model):
    """
    A render. ``output_id`` (``id`` in the API) may be an input of a later run (``node_render_ids``); before 2026 it was
    not given. The links are signed and expire: ``video_url`` after 7 days, the others at a time that is not documented.
    So they are fetched again when they are needed.

    The shape of the outputs of the generation tiles is not documented: an image or audio may be behind ``video_url``,
    or behind a field of its own.
    """

    output_id: Label = Field(default="", validation_alias=AliasChoices("id", "output_id"))
    video_url: Words = None
    image_url: Words = None
    audio_url: Words = None
    file_url: Words = Field(default=None, validation_alias=AliasChoices("file_url", "media_url"))
    thumbnail_url: Words = None
    premiere_prproj_url: Words = None
    original_node_id: Label | None = None
    completed_at: Time = None
    sources: Many[dict[str, Any]] = ()

    lenient_fields = frozenset({"sources"})

    @property
    def media_field(self) -> str | None:
        """The field with the link to the render itself: a video, an image or audio; None while there is no link."""
        return next((name for name in ("video_url", "image_url", "audio_url", "file_url") if getattr(self, name)), None)

    @property
    def media_url(self) -> str | None:
        """The link to the render itself."""
        return getattr(self, self.media_field) if self.media_field else None


class Run(Model):
    """One execution of an agent. A summary in a list has no ``errors`` and no ``needs_credits``."""

    run_id: Id = Field(validation_alias=AliasChoices("run_id", "agent_state_id", "id"))
    #: As it is documented where it is one of those in another spelling; ``reported_status`` has the API's own then.
    status: Status
    reported_status: Status | None = None
    agent_id: Label | None = None
    status_message: Words = None
    started_at: Time = None
    updated_at: Time = None
    needs_credits: Flag = Field(default=False, validation_alias=AliasChoices("needs_credits", "needsCredits"))
    node_status_counts: NodeCounts = NodeCounts()
    errors: Many[NodeErrors] = ()
    inputs: Many[RunInput] = ()
    outputs: Many[Output] = ()
    triggered_by: dict[str, Any] | None = None

    documented_statuses = RUN_STATUS_WORDS
    # Not the outputs: without them a run would seem to have rendered nothing.
    lenient_fields = frozenset({"node_status_counts", "errors", "inputs", "triggered_by"})

    @field_validator("triggered_by", mode="before")
    @classmethod
    def _a_word_is_a_type(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @field_validator("errors", mode="before")
    @classmethod
    def _plain_messages_are_errors(cls, value: Any) -> Any:
        items = [value] if isinstance(value, (str, dict)) else value
        if not isinstance(items, list):
            return items
        return [{"messages": [item]} if isinstance(item, str) else item for item in items]

    @property
    def output_ids(self) -> list[str]:
        """Ids of the renders, in the API's order."""
        return [output.output_id for output in self.outputs if output.output_id]

    @property
    def by_trigger(self) -> bool:
        """Whether a trigger started it, not a call of the API."""
        # A null says nothing, and who asked for it says that it was asked for.
        by = {name: value for name, value in (self.triggered_by or {}).items() if value is not None}
        kind = by.pop("type", None)
        if kind is not None:
            return str(kind).lower() not in _BY_PERSON
        return not by.keys() <= _WHO_ASKED


class RunNode(Model):
    """A node inside one run; ``original_node_id`` is the agent's node that it was made from."""

    agent_node_id: Label | None = None
    original_node_id: Label | None = None
    status: Status = "unknown"
    status_message: Words = None
    errors: Many[str] = ()
    node_type: NodeType = NodeType()
    needs_credits: Flag = Field(default=False, validation_alias=AliasChoices("needs_credits", "needsCredits"))

    documented_statuses = {**RUN_STATUS_WORDS, **status_words(not_started="", queued="", blocked="")}
    lenient_fields = frozenset({"errors", "node_type"})

    @field_validator("errors", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return [_message(item) for item in value] if isinstance(value, list) else value


class Resumed(Model):
    """What a resume set in motion again."""

    run_id: Words = None
    nodes_queued: Count = 0
    nodes_considered: Count = 0


class Cancelled(Model):
    """What a cancel stopped."""

    run_id: Words = None
    tasks_cancelled: Count = 0
    nodes_reset: Count = 0
    message: Words = None


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
    Start a run of an agent; the answer is the run's id. **It costs credits, and so does a second one.**

    The four shorthands are for agents with one Video Input tile; ``video_inputs`` says for each tile what it gets and
    excludes them. An agent that only generates takes no input at all.

    :param agent_id: The agent.
    :param video_urls: YouTube or HTTP(S) addresses of videos.
    :param video_ids: Ids of uploaded videos.
    :param node_render_ids: Ids of outputs of earlier runs.
    :param mimir_assets: Items of a connected Mimir: ``{"id": ..., "artifact": "highres" | "proxy" | "auto"}``.
    :param video_inputs: One object a Video Input tile: ``agent_node_id``, at least one of the four lists above, and,
        if only a part of the source is wanted, ``input_clip_start_ms`` and ``input_clip_end_ms``.
    :param update_params: Parameters for this run only: ``{agent_node_id: {name: value}}``. As the API takes them: the
        name of a tile is made an id by the hook and the operator.
    :param ignore_nodes: Nodes of the agent to leave out.
    :param callback_url: Where the webhooks of this run go.
    :raises MosaicValidationError: An argument is wrong in itself.
    :raises MosaicAmbiguousOutcomeError: Whether a run was started is unknown; look with :func:`list_runs`.
    """
    shorthands = {
        "video_urls": video_urls,
        "video_ids": video_ids,
        "node_render_ids": node_render_ids,
        "mimir_assets": mimir_assets,
    }
    body = validate_videos(video_inputs, shorthands)
    if update_params is not None:
        body["update_params"] = validate_params("update_params", update_params)
    if ignore_nodes is not None:
        body["ignore_nodes"] = validate_ids("ignore_nodes", ignore_nodes)
    if callback_url is not None:
        body["callback_url"] = validate_callback("callback_url", callback_url)
    return Call(
        description=f"start a run of agent {agent_id!r}",
        method="POST",
        path="/agent/{agent_id}/run",
        makes="run_id",
        ids={"agent_id": agent_id},
        body=body,
        read=lambda data: id_in(data, "run_id", "agent_state_id"),
        retry_safety=RetrySafety.HAS_EFFECTS,
        patience=_START_PATIENCE,
    )


def get_run(run_id: str) -> Call[Run]:
    """
    The state of a run, with its outputs (https://docs.mosaic.so/api/agent-runs/get-agent-run). Whether each answer has
    new links is not documented.

    :param run_id: The run.
    """

    def read(data: Any) -> Run:
        # The documented answer does not repeat the id of the run, and its "id" would be somebody else's.
        return Run.model_validate({**object_in(data), "run_id": run_id})

    return Call(
        description=f"read run {run_id!r}",
        method="GET",
        path="/agent_run/{run_id}",
        ids={"run_id": run_id},
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def get_run_nodes(run_id: str) -> Call[tuple[RunNode, ...]]:
    """
    The state of each node of a run (https://docs.mosaic.so/api/agent-runs/get-agent-run-nodes).

    :param run_id: The run.
    """

    def read(data: Any) -> tuple[RunNode, ...]:
        return tuple(RunNode.model_validate(item) for item in list_in(data, "nodes"))

    return Call(
        description=f"read the nodes of run {run_id!r}",
        method="GET",
        path="/agent_run/{run_id}/nodes",
        ids={"run_id": run_id},
        read=read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


def cancel_run(run_id: str) -> Call[Cancelled]:
    """
    Stop a run and what would follow in it (https://docs.mosaic.so/api/agent-runs/post-agent-run-cancel).

    :param run_id: The run. One that has ended already may answer with a conflict (409).
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
    Resume a failed or cancelled run: nodes that failed, were cancelled or blocked, or had not started are queued again.
    What that costs is not documented
    (https://docs.mosaic.so/api/agent-runs/post-agent-run-resume).

    :param run_id: The run; its id stays. In any other state the answer is a conflict (409).
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
    Runs of one agent, or of all (https://docs.mosaic.so/api/agent-runs/get-agent-runs).

    :param agent_id: The agent; None for all.
    :param status: Only runs in these statuses.
    :param created_from: Only runs created since.
    :param created_to: Only runs created until.
    """
    return paged(
        "list the runs" if agent_id is None else f"list the runs of agent {agent_id!r}",
        "/agent_runs" if agent_id is None else "/agent/{agent_id}/runs",
        ids={} if agent_id is None else {"agent_id": agent_id},
        query={
            "status": joined_statuses(status),
            "from": optional_moment("created_from", created_from),
            "to": optional_moment("created_to", created_to),
        },
        read=read_page("runs", Run.model_validate),
        key=lambda run: run.run_id,
    )
