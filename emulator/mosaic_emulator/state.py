"""The state of an emulator, and the JSON of its runs and posts."""

from __future__ import annotations

import itertools
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mosaic_emulator.account.billing import Ledger
from mosaic_emulator.agents.tile_params import missing_param
from mosaic_emulator.assets.avatars import AvatarProfiles
from mosaic_emulator.assets.uploads import UploadStore
from mosaic_emulator.catalogue import CONNECTIONS, USER_ID, Agent, Connection, fixed_agents
from mosaic_emulator.core.clock import Clock
from mosaic_emulator.core.counters import Counters
from mosaic_emulator.core.faults import FaultQueue
from mosaic_emulator.core.request_log import RequestLog
from mosaic_emulator.core.responses import apply_shape
from mosaic_emulator.media import MediaStore, StoredObject
from mosaic_emulator.runs.engine import RunEngine
from mosaic_emulator.runs.ffmpeg import Ffmpeg
from mosaic_emulator.runs.inputs import InputFetcher
from mosaic_emulator.runs.models import Output, Run, RunInput, RunNode, runnable_graph
from mosaic_emulator.runs.rendering import Renderer
from mosaic_emulator.runs.webhooks import WebhookSender
from mosaic_emulator.settings import Settings
from mosaic_emulator.social.posts import Post, PostPublisher, outcomes_2026_json
from mosaic_emulator.triggers.storage_events import StorageEvents
from mosaic_emulator.triggers.youtube import YoutubeTriggers, triggered_by


class State:
    """The complete state of an emulator."""

    def __init__(self, *, settings: Settings, api_key: str, directory: Path) -> None:
        self.settings = settings
        self._start_settings = settings.model_copy(deep=True)
        self.api_key = api_key
        self.directory = directory
        self.counters = Counters()
        self.faults = FaultQueue(seed=settings.seed)
        self.log = RequestLog(length=settings.request_log)
        self.clock = Clock(settings=settings)
        # A unique name, since the directory's content is deleted.
        media_directory = directory / "mosaic-emulator-media"
        shutil.rmtree(media_directory, ignore_errors=True)
        self.media = MediaStore(settings=settings, directory=media_directory)
        self.uploads = UploadStore(settings=settings, clock=self.clock, media=self.media)
        self.webhooks = WebhookSender(settings=settings, counters=self.counters)
        self.avatars = AvatarProfiles(settings=settings, media=self.media)
        self.triggers = YoutubeTriggers(settings=settings)
        self.storage_events = StorageEvents(clock=self.clock)
        self.ledger = Ledger(settings=settings, clock=self.clock, counters=self.counters)
        ffmpeg = Ffmpeg()
        self.engine = RunEngine(
            settings=settings,
            clock=self.clock,
            renderer=Renderer(
                settings=settings, clock=self.clock, media=self.media, ffmpeg=ffmpeg, uploads=self.uploads
            ),
            fetcher=InputFetcher(settings=settings, media=self.media, ffmpeg=ffmpeg),
            announce=self._announce,
            prepare=self._prepare,
            ledger=self.ledger,
        )
        self.post_publisher = PostPublisher(
            settings=settings,
            clock=self.clock,
            is_media_expired=self._is_media_expired,
            is_connected=self._is_connected,
        )
        self._populate()

    def _populate(self) -> None:
        self.agents: dict[str, Agent] = fixed_agents()
        self.deleted_agents: set[str] = set()
        self.connections: dict[str, Connection] = dict(CONNECTIONS)
        self.deleted_connections: dict[str, Connection] = {}
        self.runs: dict[str, Run] = {}
        self.posts: dict[str, Post] = {}
        #: Requested social connections by the token of their link.
        self.links: dict[str, dict[str, Any]] = {}
        self.numbers = itertools.count(len(self.agents) + 1)
        self.key_used_at = self.clock.now()

    def configure(self, changes: dict[str, Any]) -> None:
        """
        Change settings. If any is invalid, none is changed.

        :raises pydantic.ValidationError: If a name or a value is invalid.
        """
        updated = Settings(**{**self.settings.model_dump(), **changes})
        for name in changes:
            setattr(self.settings, name, getattr(updated, name))
        self.settings_changed()

    def settings_changed(self) -> None:
        """Wake all tasks that wait for a setting."""
        for owner in (self.engine, self.post_publisher, self.avatars):
            owner.tasks.settings_changed()

    def reset(self) -> None:
        """Reset state, settings, faults, counters and the request log."""
        self.engine.reset()
        self.post_publisher.tasks.cancel_all()
        start = self._start_settings.model_copy(deep=True)
        for name in Settings.model_fields:
            setattr(self.settings, name, getattr(start, name))
        self.settings_changed()
        self.avatars.reset()
        self.triggers.triggers.clear()
        self.storage_events.reset()
        self.ledger.reset()
        self.webhooks.reset()
        self.uploads.reset()
        self.media.reset()
        self.faults.clear()
        self.faults.reseed(self.settings.seed)
        self.counters.reset()
        self.log.reset(self.settings.request_log)
        self._populate()

    def start_run(
        self,
        agent: Agent,
        inputs: list[RunInput],
        *,
        ignored: Iterable[str] = (),
        params: dict[str, dict[str, Any]] | None = None,
        callback_url: str | None = None,
        triggered_by: dict[str, Any] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> Run:
        """
        Create a run and start it.

        :param params: Parameters by tile id, merged into those of the tile.
        :param triggered_by: The trigger and its event, unless the API started the run.
        :param origin: Storage trigger, batch and folder, if a watched folder started the run.
        """
        nodes, edges = runnable_graph(agent, [each for each in ignored if each in agent.nodes])
        now = self.clock.now()
        run = Run(
            id=str(uuid.uuid4()),
            number=next(self.numbers),
            agent=agent,
            nodes={
                each: RunNode(node, {**node.params, **(params or {}).get(each, {})}, self.clock.now)
                for each, node in nodes.items()
            },
            edges=edges,
            inputs=inputs,
            callback_url=callback_url,
            created_at=now,
            started_at=now,
            updated_at=now,
            status=self.settings.initial_status,
            triggered_by=triggered_by,
            origin=origin or {},
        )
        self.runs[run.id] = run
        self.counters.add("runs_started" if triggered_by is None else "runs_triggered")
        self.engine.start(run)
        return run

    async def _prepare(self, node: RunNode) -> str | None:
        """Check a node's required parameters and wait for its avatar profile. Return an error message, or None."""
        problem = missing_param(node.template.type, node.params, self.settings, "run")
        if problem is not None:
            return problem
        profile_id = node.params.get("avatar_profile_id")
        if node.template.type.name != "AI Avatar" or profile_id is None:
            return None
        return await self.avatars.wait_until_ready(str(profile_id))

    def _is_connected(self, connection_id: str) -> bool:
        return connection_id in self.connections and connection_id not in self.settings.disconnected

    def render_by_id(self, output_id: str) -> StoredObject | None:
        """Return the video of an earlier output."""
        for run in self.runs.values():
            for output in run.outputs:
                if output.id == output_id and output.kind == "video":
                    return output.video
        return None

    # JSON of runs

    def link(self, stored: StoredObject | None) -> str | None:
        """Return a new signed link to an object of a run."""
        return None if stored is None else self.media.link(stored.name, self.settings.link_seconds)

    def inputs_json(self, run: Run) -> list[dict[str, Any]]:
        """Return the inputs: a link to the stored video, or the given URL before it is downloaded."""
        return [
            {"video_url": each.reference if each.media is None else self.link(each.media), "thumbnail_url": None}
            for each in self._visible_inputs(run)
        ]

    def _visible_inputs(self, run: Run) -> list[RunInput]:
        return [each for each in run.inputs if each.media is not None or each.kind == "video_urls"]

    def _event_inputs(self, run: Run) -> list[dict[str, Any]]:
        written = self.inputs_json(run)
        if self.settings.webhook_inputs == "links":
            return written
        moment = self.clock.text(run.created_at)
        return [
            {
                "video_id": source.reference if source.kind == "video_ids" else None,
                "file_name": source.title,
                "file_url": link["video_url"],
                "uploaded_at": moment,
            }
            for source, link in zip(self._visible_inputs(run), written, strict=True)
        ]

    def output_json(self, output: Output, *, webhook: bool = False) -> dict[str, Any]:
        """Return an output with new links."""
        written: dict[str, Any] = {
            "id": output.id,
            **self._media_json(output),
            "thumbnail_url": self.link(output.thumbnail),
            "premiere_prproj_url": self.link(output.premiere),
            "sources": _licensed_sources() if self.settings.licensed_sources else [],
            "completed_at": self.clock.text(output.completed_at),
            "original_node_id": output.node_id,
        }
        if webhook:
            # Not in the documented webhook fields.
            del written["premiere_prproj_url"]
        return written

    def _media_json(self, output: Output) -> dict[str, Any]:
        link, where = self.link(output.video), self.settings.generated_url
        if output.kind == "video" or where == "video_url":
            return {"video_url": link}
        own = {f"{output.kind}_url": link}
        return own if where == "own" else {"video_url": link if where == "both" else None, **own}

    def outputs_json(self, run: Run, *, webhook: bool = False) -> list[dict[str, Any]]:
        """Return the visible outputs. A failed run has none."""
        if run.status == "failed" or (run.active and not self.settings.outputs_while_running):
            return []
        now = time.monotonic()
        return [self.output_json(each, webhook=webhook) for each in run.outputs if each.visible_from <= now]

    def counts_json(self, run: Run) -> dict[str, int]:
        """Return ``node_status_counts``."""
        return run.counts(waiting_is_progress=self.settings.waiting_counts_as_progress)

    def run_json(self, run: Run) -> dict[str, Any]:
        """Return the body of ``GET /agent_run/{id}``."""
        return {
            "agent_id": run.agent.id,
            "started_at": self.clock.text(run.started_at),
            "status": run.status,
            "status_message": run.status_message,
            "needs_credits": run.needs_credits,
            "errors": run.errors(),
            "node_status_counts": self.counts_json(run),
            "inputs": self.inputs_json(run),
            "outputs": self.outputs_json(run),
        }

    def run_summary_json(self, run: Run) -> dict[str, Any]:
        """Return a run as a list item."""
        return {
            "run_id": run.id,
            "agent_id": run.agent.id,
            "status": run.status,
            "status_message": run.status_message,
            "started_at": self.clock.text(run.started_at),
            "updated_at": self.clock.text(run.updated_at),
            "node_status_counts": self.counts_json(run),
            "inputs": [],
            "outputs": self.outputs_json(run),
            "triggered_by": triggered_by(run.triggered_by, self.settings.listed_trigger),
        }

    def run_control_json(self, run: Run) -> dict[str, Any]:
        """Return a run for the control interface, without links."""
        return {
            "run_id": run.id,
            "agent_id": run.agent.id,
            "status": run.status,
            "status_message": run.status_message,
            "needs_credits": run.needs_credits,
            "created_at": run.created_at.isoformat(),
            "updated_at": run.updated_at.isoformat(),
            "resumed": run.resumed,
            "ended": run.ended,
            "callback_url": run.callback_url,
            "triggered_by": run.triggered_by,
            "inputs": [
                {
                    "node_id": each.node_id,
                    "kind": each.kind,
                    "reference": each.reference,
                    "start_ms": each.start_ms,
                    "end_ms": each.end_ms,
                    "size": each.media.size if each.media else None,
                }
                for each in run.inputs
            ],
            "nodes": [
                {
                    "original_node_id": each.template.id,
                    "name": each.template.type.name,
                    "status": each.status,
                    "params": each.params,
                }
                for each in run.nodes.values()
            ],
            "output_ids": [each.id for each in run.outputs],
            "output_sizes": [each.video.size for each in run.outputs],
        }

    def _announce(self, run: Run, flag: str, nodes: list[RunNode]) -> None:
        if run.callback_url is None:
            return
        event: dict[str, Any] = {
            "flag": flag,
            "agent_id": run.agent.id,
            "run_id": run.id,
            "status": run.status,
            "node_status_counts": self.counts_json(run),
            "triggered_by": triggered_by(run.triggered_by, self.settings.webhook_trigger, flag),
        }
        if run.triggered_by is None and self.settings.manual_trigger == "manual":
            moment = self.clock.text(run.created_at)
            event["triggered_by"] = {"type": "manual", "source": "api", "user_id": USER_ID, "triggered_at": moment}
        elif run.triggered_by is None and self.settings.manual_trigger == "absent":
            del event["triggered_by"]
        if flag in ("RUN_STARTED", "RUN_FINISHED"):
            event["inputs"] = self._event_inputs(run)
        if flag == "RUN_PROGRESS":
            event["updated_nodes"] = [
                {
                    "original_node_id": node.template.id,
                    "status": node.status,
                    "status_message": node.status_message,
                    "errors": list(node.errors),
                    "outputs": [
                        self.output_json(each, webhook=True) for each in run.outputs if each.node_id == node.template.id
                    ],
                }
                for node in nodes
            ]
        if flag == "RUN_FINISHED":
            event["status_message"] = run.status_message
            event["needs_credits"] = run.needs_credits
            event["errors"] = run.errors()
            event["outputs"] = self.outputs_json(run, webhook=True)
        self.webhooks.send(run.callback_url, apply_shape(event, self.settings))

    # JSON of posts

    def post_json(self, post: Post, *, listed: bool = False) -> dict[str, Any]:
        """Return a post."""
        status = post.status
        if status == "processing" and post.schedule is not None and not listed and self.settings.fold_processing:
            status = "scheduled"
        return {
            "post_id": post.id,
            "status": status,
            "description": post.text,
            "thumbnail_url": None,
            "scheduled_at": self.clock.optional(post.schedule),
            "platforms": post.platforms,
            **self._outcomes_json(post),
            "created_at": self.clock.text(post.created_at),
            "updated_at": self.clock.text(post.updated_at),
        }

    def _outcomes_json(self, post: Post) -> dict[str, Any]:
        if self.settings.post_outcomes == "results":
            return {
                "destinations": [each.connection.as_json() for each in post.destinations],
                **outcomes_2026_json(post),
            }
        return {"destinations": [each.as_json() for each in post.destinations]}

    def _is_media_expired(self, url: str) -> bool:
        if not url.startswith(f"{self.media.base_url}/"):
            return False
        parts = urlsplit(url)
        return self.media.check_link(parts.path, parts.query) != "good"


def _licensed_sources() -> list[dict[str, Any]]:
    return [
        {
            "provider": "getty",
            "source_kind": "licensed_library",
            "media_type": "image",
            "provider_asset_id": "1200034",
            "render_asset_id": "getty_image_000",
        }
    ]
