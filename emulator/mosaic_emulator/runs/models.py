"""Runs with their nodes, inputs and outputs. ``runs.engine`` executes them."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from mosaic_emulator.catalogue import INPUT_TYPE, Agent, AgentNode
from mosaic_emulator.media import StoredObject

TERMINAL: Final = frozenset({"completed", "partial_complete", "failed", "cancelled"})
REQUEUEABLE: Final = frozenset({"not_started", "blocked", "cancelled", "failed"})


_numbers = itertools.count(1)


@dataclass
class NodeTask:
    """A task of a node. Queueing a node again detaches its earlier tasks."""

    created_at: datetime
    heartbeat: datetime
    status: str = "running"
    message: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def progress(self) -> int:
        """The progress in percent."""
        return {"running": 50, "completed": 100}.get(self.status, 0)


@dataclass
class RunNode:
    """A tile in a run."""

    template: AgentNode
    params: dict[str, Any]
    #: Returns the server's time.
    now: Callable[[], datetime]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "not_started"
    status_message: str | None = None
    errors: list[str] = field(default_factory=list)
    needs_credits: bool = False
    tasks: list[NodeTask] = field(default_factory=list)
    updated_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.updated_at = self.now()

    @property
    def is_source(self) -> bool:
        """Whether the node is a Video Input."""
        return self.template.type.id == INPUT_TYPE

    def set(self, status: str, message: str | None = None) -> None:
        """Change the status."""
        self.status = status
        self.status_message = message
        self.updated_at = self.now()
        if status != "failed":
            self.errors = []
            self.needs_credits = False
        if status == "not_started":
            self.tasks.clear()
        elif status == "running":
            self.tasks.append(NodeTask(self.updated_at, self.updated_at))
        elif self.tasks:
            last = self.tasks[-1]
            last.status, last.message, last.heartbeat = status, message, self.updated_at

    def as_json(self) -> dict[str, Any]:
        """Return the node as in ``GET /agent_run/{id}/nodes``."""
        return {
            "agent_node_id": self.id,
            "original_node_id": self.template.id,
            "status": self.status,
            "status_message": self.status_message,
            "errors": list(self.errors),
            "node_type": self.template.type.as_json(),
            "needs_credits": self.needs_credits,
        }


@dataclass
class RunInput:
    """A source of a run: an upload, an earlier output, or a URL that is downloaded when the run starts."""

    node_id: str
    kind: str
    reference: str
    start_ms: float | None = None
    end_ms: float | None = None
    media: StoredObject | None = None
    #: Name of the uploaded file.
    file_name: str | None = None

    @property
    def title(self) -> str:
        """A name for messages: a file name or an id. Never a whole URL, which may be signed."""
        if self.kind == "video_urls":
            return PurePosixPath(urlsplit(self.reference).path).name[:120] or "the URL"
        return (self.file_name or self.reference)[:120]


@dataclass
class Output:
    """An output of a run."""

    id: str
    node_id: str
    #: The video, or a generated image or audio.
    video: StoredObject
    thumbnail: StoredObject | None
    premiere: StoredObject | None
    completed_at: datetime
    #: ``time.monotonic()`` from which the API returns it.
    visible_from: float = 0.0

    @property
    def kind(self) -> str:
        """``video``, ``image`` or ``audio``."""
        return self.video.content_type.partition("/")[0]


@dataclass
class Run:
    """A run of an agent."""

    id: str
    number: int
    agent: Agent
    nodes: dict[str, RunNode]
    edges: list[tuple[str, str]]
    inputs: list[RunInput]
    callback_url: str | None
    created_at: datetime
    started_at: datetime
    updated_at: datetime
    status: str
    status_message: str | None = None
    outputs: list[Output] = field(default_factory=list)
    #: The trigger and its event. The settings choose its shape in responses.
    triggered_by: dict[str, Any] | None = None
    #: Storage trigger, batch and folder of a run that a watched folder started.
    origin: dict[str, Any] = field(default_factory=dict)
    #: ``time.monotonic()`` of the start, for the setting ``list_lag``.
    created_monotonic: float = field(default_factory=time.monotonic)
    resumed: int = 0
    ended: int = 0

    @property
    def active(self) -> bool:
        """Whether the run has not ended."""
        return self.status not in TERMINAL

    @property
    def needs_credits(self) -> bool:
        """Whether a node failed for lack of credits."""
        return any(node.needs_credits for node in self.nodes.values())

    def upstream(self, node_id: str) -> list[RunNode]:
        """Return the direct upstream nodes of a node."""
        return [self.nodes[source] for source, target in self.edges if target == node_id]

    def is_sink(self, node_id: str) -> bool:
        """Return whether a node's results are outputs of the run."""
        return all(source != node_id for source, _ in self.edges)

    def lineage(self, node_id: str) -> list[RunNode]:
        """Return a node and all its upstream nodes, in the order of the graph."""
        lineage = {node_id}
        for each in reversed(self.nodes):
            if each in lineage:
                lineage.update(source for source, target in self.edges if target == each)
        return [node for each, node in self.nodes.items() if each in lineage]

    def errors(self) -> list[dict[str, Any]]:
        """Return the errors of failed nodes."""
        return [
            {"original_node_id": node.template.id, "messages": list(node.errors)}
            for node in self.nodes.values()
            if node.errors
        ]

    def counts(self, *, waiting_is_progress: bool) -> dict[str, int]:
        """Return ``node_status_counts``."""
        progress = {"queued", "running"}
        if waiting_is_progress and self.active:
            progress |= {"not_started", "blocked"}
        statuses = [node.status for node in self.nodes.values()]
        return {
            "completed": sum(status == "completed" for status in statuses),
            "in_progress": sum(status in progress for status in statuses) if self.active else 0,
            "failed": sum(status == "failed" for status in statuses),
        }


def runnable_graph(agent: Agent, ignored: list[str]) -> tuple[dict[str, AgentNode], list[tuple[str, str]]]:
    """
    Remove the ignored tiles from an agent's graph and connect their upstream to their downstream tiles.

    :returns: The tiles in the order of the graph, and the edges.
    """
    edges = list(agent.edges)
    for node_id in ignored:
        before = [source for source, target in edges if target == node_id]
        after = [target for source, target in edges if source == node_id]
        edges = [edge for edge in edges if node_id not in edge]
        edges += [(source, target) for source in before for target in after if (source, target) not in edges]
    remaining = {each: node for each, node in agent.nodes.items() if each not in ignored}
    ordered: dict[str, AgentNode] = {}
    while len(ordered) < len(remaining):
        ready = [
            each
            for each in remaining
            if each not in ordered and all(source in ordered for source, target in edges if target == each)
        ]
        if not ready:
            raise ValueError("The graph has a cycle")
        ordered.update({each: remaining[each] for each in ready})
    return ordered, edges
