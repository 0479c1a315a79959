"""Runs: start, read, list, cancel, resume."""

from __future__ import annotations

import time
import uuid

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.core.urls import is_http_url
from mosaic_emulator.media import SAMPLE_VIDEO
from mosaic_emulator.routes.agents import find_agent
from mosaic_emulator.routes.request_context import Asked, RequestContext
from mosaic_emulator.routes.uploads import find_upload
from mosaic_emulator.runs.inputs import StartBody, resolve
from mosaic_emulator.runs.models import Run, RunInput

router = APIRouter()


def find_run(exchange: RequestContext, run_id: str) -> Run:
    """
    Return a run.

    :raises ApiError: 404 when there is none.
    """
    run = exchange.world.runs.get(run_id)
    if run is None or not exchange.is_visible(run.agent.workspace_id):
        raise ApiError(404, "Agent run could not be found")
    return run


@router.post("/agent/{agent_id}/run")
async def start_run(agent_id: str, exchange: Asked) -> Response:
    """Start a run. There is no idempotency key: the same request twice is two runs."""
    world, settings = exchange.world, exchange.settings
    agent = find_agent(exchange, agent_id)
    body = exchange.body(StartBody)
    if not agent.nodes and settings.empty_agents == "refuse":
        raise ApiError(400, "The agent has no tiles")
    if body.callback_url is not None and not is_http_url(body.callback_url):
        raise exchange.refuse("callback_url: not an http or https URL", "body", "callback_url")
    inputs = resolve(agent, body, settings)
    for each in inputs:
        _find_source(exchange, each)
    most = settings.max_concurrent_runs
    if most is not None and sum(run.active for run in world.runs.values()) >= most:
        raise ApiError(403, "Too many runs at once", code="concurrent_agent_limit")
    run = world.start_run(
        agent,
        inputs,
        ignored=body.ignore_nodes or [],
        params=body.update_params,
        callback_url=body.callback_url,
    )
    summary = exchange.settings.start_answer == "summary"
    return exchange.answer(world.run_summary_json(run) if summary else {"run_id": run.id})


def _find_source(exchange: RequestContext, source: RunInput) -> None:
    world = exchange.world
    if source.kind == "video_ids":
        upload = find_upload(exchange, source.reference, "video")
        if upload is None or not upload.usable or (exchange.settings.finalize_required and not upload.finalized):
            raise ApiError(exchange.settings.unknown_input_status, f"Video {source.reference} could not be found")
        source.file_name = upload.file_name
        # Dropped bytes (`discard_uploads`) are stood in for by the sample.
        source.media = upload.media or world.media.put(f"inputs/{uuid.uuid4()}.mp4", SAMPLE_VIDEO, "video/mp4")
    elif source.kind == "node_render_ids":
        source.media = world.render_by_id(source.reference)
        if source.media is None:
            raise ApiError(exchange.settings.unknown_input_status, f"Render {source.reference} could not be found")


@router.get("/agent_run/{run_id}")
async def get_run(run_id: str, exchange: Asked) -> Response:
    """Tell how a run stands."""
    return exchange.answer(exchange.world.run_json(find_run(exchange, run_id)))


@router.get("/agent_run/{run_id}/nodes")
async def list_run_nodes(run_id: str, exchange: Asked) -> Response:
    """Tell how each node of a run stands."""
    run = find_run(exchange, run_id)
    return exchange.answer({"run_id": run.id, "nodes": [node.as_json() for node in run.nodes.values()]})


@router.get("/agent/{agent_id}/runs")
async def list_agent_runs(agent_id: str, exchange: Asked) -> Response:
    """List the runs of one agent."""
    exchange.known_query("limit", "cursor", "status", "from", "to")
    return _list(exchange, find_agent(exchange, agent_id).id)


@router.get("/trigger/{trigger_id}/runs")
async def list_trigger_runs(trigger_id: str, exchange: Asked) -> Response:
    """List the runs that one trigger began."""
    exchange.known_query("limit", "cursor", "status", "from", "to")
    world = exchange.world
    known = trigger_id in world.triggers.triggers or trigger_id in world.evidence.triggers
    if not known and exchange.settings.unknown_trigger_runs == 404:
        raise ApiError(404, "Trigger could not be found")
    return _list(exchange, None, trigger_id)


@router.get("/agent_runs")
async def list_runs(exchange: Asked) -> Response:
    """List the runs of all agents."""
    exchange.known_query("limit", "cursor", "status", "from", "to", "agent_id")
    return _list(exchange, exchange.query("agent_id"))


def _list(exchange: RequestContext, agent_id: str | None, trigger_id: str | None = None) -> Response:
    status, since, until = exchange.query("status"), exchange.time("from"), exchange.time("to")
    statuses = {each.strip() for each in status.split(",")} if status is not None else None
    known_until = time.monotonic() - exchange.settings.list_lag

    def wanted(run: Run) -> bool:
        return (
            run.born <= known_until
            and exchange.is_visible(run.agent.workspace_id)
            and (agent_id is None or run.agent.id == agent_id)
            and (trigger_id is None or (run.triggered_by or {}).get("trigger_id") == trigger_id)
            and (statuses is None or run.status in statuses)
            and (since is None or run.created_at >= since)
            and (until is None or run.created_at <= until)
        )

    return exchange.page(
        "runs",
        exchange.world.runs,
        number=lambda run: run.number,
        wanted=wanted,
        write=exchange.world.run_summary_json,
        filters=("status", "from", "to", "agent_id"),
    )


@router.post("/agent_run/{run_id}/cancel")
async def cancel_run(run_id: str, exchange: Asked) -> Response:
    """Stop a run that is active."""
    exchange.no_body()
    run = find_run(exchange, run_id)
    if not run.active:
        refusal = exchange.settings.cancel_terminal_status
        if refusal != 200:
            raise ApiError(refusal, f"The run is {run.status} and can't be cancelled")
        tasks, nodes = 0, 0
    else:
        tasks, nodes = exchange.world.engine.cancel(run)
        exchange.world.tally.add("runs_cancelled")
    answer = {
        "success": True,
        "run_id": run.id,
        "tasks_cancelled": tasks,
        "nodes_reset": nodes,
        "message": "Run stopped",
    }
    return exchange.answer(answer, news=False)


@router.post("/agent_run/{run_id}/resume")
async def resume_run(run_id: str, exchange: Asked) -> Response:
    """Go on with a run that failed or was cancelled."""
    exchange.no_body()
    run = find_run(exchange, run_id)
    if run.status not in ("failed", "cancelled"):
        raise ApiError(409, f"The run is {run.status} and can't be resumed")
    queued = len(exchange.world.engine.resume(run))
    exchange.world.tally.add("runs_resumed")
    answer = {
        "success": True,
        "run_id": run.id,
        "agent_state_id": run.id,
        "nodes_queued": queued,
        "nodes_considered": len(run.nodes),
        "requeued_nodes": queued,
        "requeued_node_tasks_detached": queued,
        "requeued_node_active_tasks_cancelled": 0,
        "requeued_node_active_tasks_total": 0,
    }
    return exchange.answer(answer, news=False)
