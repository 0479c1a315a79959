"""The run engine: executes the nodes of a run in the order of its graph."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from mosaic_emulator.account.billing import Ledger
from mosaic_emulator.core.background import BackgroundTasks
from mosaic_emulator.core.clock import Clock
from mosaic_emulator.runs.inputs import InputFetcher, InputUnavailableError
from mosaic_emulator.runs.models import REQUEUEABLE, Run, RunNode
from mosaic_emulator.runs.rendering import Renderer
from mosaic_emulator.settings import Settings

#: Called for each webhook event with the run, the flag and the changed nodes.
Announce = Callable[[Run, str, list[RunNode]], None]
#: Waits for what a node needs besides its inputs. Returns an error message, or None.
Prepare = Callable[[RunNode], Awaitable["str | None"]]

OUT_OF_CREDITS = "Not enough credits"


class RunEngine:
    """Executes each active run in an asyncio task."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        renderer: Renderer,
        fetcher: InputFetcher,
        announce: Announce,
        prepare: Prepare,
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._renderer = renderer
        self._fetcher = fetcher
        self._announce = announce
        self._prepare = prepare
        self._ledger = ledger
        self.tasks = BackgroundTasks()
        self._cancelling: dict[str, asyncio.TimerHandle] = {}

    # For the routes

    def start(self, run: Run) -> None:
        """Start a new run."""
        self.tasks.start(run.id, self._process(run, resumed=False))

    def cancel(self, run: Run) -> tuple[int, int]:
        """
        Cancel an active run.

        :returns: The number of cancelled tasks and of reset nodes.
        """
        busy = [node for node in run.nodes.values() if node.status in ("running", "queued")]
        waiting = [node for node in run.nodes.values() if node.status in ("not_started", "blocked")]
        if self._settings.cancel_lag:
            loop = asyncio.get_running_loop()
            self._cancelling[run.id] = loop.call_later(self._settings.cancel_lag, self._stop, run)
        else:
            self._stop(run)
        return len(busy), len(waiting)

    def resume(self, run: Run) -> list[RunNode]:
        """
        Queue all nodes of a run that have not completed, except its inputs.

        :returns: The queued nodes.
        """
        queued = [node for node in run.nodes.values() if not node.is_source and node.status in REQUEUEABLE]
        for node in queued:
            node.set("not_started")
        run.resumed += 1
        run.status_message = None
        self._set_status(run, "running")
        self.tasks.start(run.id, self._process(run, resumed=True))
        return queued

    async def finish_now(
        self, run: Run, status: str, *, message: str | None = None, needs_credits: bool = False, failed: list[str]
    ) -> None:
        """
        Finish a run now.

        :param failed: Ids or type names of the nodes that fail. By default the last one, if the run fails.
        """
        self.abandon(run)
        for node in run.nodes.values():
            if node.is_source:
                await self._load_inputs(run, node)
        if status == "cancelled":
            self._stop(run, message)
            return
        sinks = [node for each, node in run.nodes.items() if run.is_sink(each)]
        failing = [node for node in run.nodes.values() if {node.template.id, node.template.type.name} & set(failed)]
        if not failing and status in ("partial_complete", "failed"):
            failing = sinks[-1:]
        for each, node in run.nodes.items():
            if node in failing:
                self._fail(node, message or "Failed on request", needs_credits=needs_credits)
            elif any(before.status in ("failed", "blocked") for before in run.upstream(each)) and status != "completed":
                node.set("blocked")
            elif node.status != "completed":
                node.set("completed")
                await self._render_or_fail(run, node)
        run.status_message = message
        self._finish(run, status)

    def reset(self) -> None:
        """Stop executing all runs."""
        self.tasks.cancel_all()
        for handle in self._cancelling.values():
            handle.cancel()
        self._cancelling.clear()

    # Execution

    async def _process(self, run: Run, *, resumed: bool) -> None:
        try:
            await self._execute(run, resumed=resumed)
        except Exception as error:
            # Fail the run, so that it does not stay active forever.
            run.status_message = f"The emulator failed: {type(error).__name__}"
            self._finish(run, "failed")
            raise

    async def _execute(self, run: Run, *, resumed: bool) -> None:
        if not resumed:
            await self._pause(self._settings.queue_seconds)
            self._set_status(run, "running")
        if not resumed or self._settings.webhook_on_resume:
            self._announce(run, "RUN_STARTED", [])
        for node in run.nodes.values():
            if node.is_source and node.status != "completed":
                await self._load_inputs(run, node)
        while ready := self._ready(run):
            for node in ready:
                node.set("running")
            self._progress(run, ready)
            await self._pause(self._settings.node_seconds)
            await self.tasks.wait_while(lambda: self._settings.hold_runs)
            for node in ready:
                await self._execute_node(run, node)
            self._progress(run, ready)
        for each, node in run.nodes.items():
            if node.status == "not_started" and any(b.status in ("failed", "blocked") for b in run.upstream(each)):
                node.set("blocked")
        self._finish(run, self._outcome(run))

    def _ready(self, run: Run) -> list[RunNode]:
        return [
            node
            for each, node in run.nodes.items()
            if node.status == "not_started"
            and not node.is_source
            and all(before.status == "completed" for before in run.upstream(each))
        ]

    async def _load_inputs(self, run: Run, node: RunNode) -> None:
        try:
            for source in run.inputs:
                if source.node_id == node.template.id:
                    await self._fetcher.load(source)
        except InputUnavailableError as error:
            self._fail(node, str(error))
            return
        node.set("completed")
        # A graph that consists of its input outputs the input.
        await self._render_or_fail(run, node)

    async def _execute_node(self, run: Run, node: RunNode) -> None:
        failing = self._settings.failing_nodes
        message = failing.get(node.template.id) or failing.get(node.template.type.name)
        if not self._ledger.can_pay():
            self._fail(node, OUT_OF_CREDITS, needs_credits=True)
            return
        message = message or await self._prepare(node)
        if message is not None:
            self._fail(node, message)
            return
        self._ledger.pay(node.template.type)
        if await self._render_or_fail(run, node):
            node.set("completed")

    async def _render_or_fail(self, run: Run, node: RunNode) -> bool:
        try:
            await self._render(run, node)
        except InputUnavailableError as error:
            self._fail(node, str(error))
            return False
        return True

    async def _render(self, run: Run, node: RunNode) -> None:
        if run.is_sink(node.template.id):
            run.outputs = [output for output in run.outputs if output.node_id != node.template.id]
            run.outputs += await self._renderer.render(run, node)

    def _fail(self, node: RunNode, message: str, *, needs_credits: bool = False) -> None:
        node.set("failed", message)
        node.errors = [message]
        node.needs_credits = needs_credits

    def _outcome(self, run: Run) -> str:
        statuses = {node.status for node in run.nodes.values()}
        if statuses <= {"completed"}:
            return "completed"
        if run.needs_credits:
            run.status_message = OUT_OF_CREDITS
            return "failed"
        failed = [node for node in run.nodes.values() if node.status == "failed"]
        if run.outputs:
            run.status_message = f"{len(failed)} of {len(run.nodes)} nodes failed"
            return "partial_complete"
        run.status_message = "; ".join(message for node in failed for message in node.errors)
        return "failed"

    def _finish(self, run: Run, status: str) -> None:
        if run.outputs and self._settings.late_output_seconds:
            run.outputs[-1].visible_from = time.monotonic() + self._settings.late_output_seconds
        self._set_status(run, status)
        if not run.active:
            run.ended += 1
            if status != "cancelled" or self._settings.webhook_on_cancel:
                self._announce(run, "RUN_FINISHED", [])

    def _stop(self, run: Run, message: str | None = None) -> None:
        self.abandon(run)
        if not run.active and run.status != "cancelled":
            return
        for node in run.nodes.values():
            if node.status in ("running", "queued"):
                node.set("cancelled")
        run.status_message = message
        self._finish(run, "cancelled")

    def abandon(self, run: Run) -> None:
        """Stop executing a run without changing its status."""
        self.tasks.cancel(run.id)
        handle = self._cancelling.pop(run.id, None)
        if handle is not None:
            handle.cancel()

    def _set_status(self, run: Run, status: str) -> None:
        run.status = status
        run.updated_at = max(self._clock.now(), run.updated_at + timedelta(microseconds=1))

    def _progress(self, run: Run, nodes: list[RunNode]) -> None:
        run.updated_at = self._clock.now()
        self._announce(run, "RUN_PROGRESS", nodes)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._settings.speed)
