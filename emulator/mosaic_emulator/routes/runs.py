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
from mosaic_emulator.routes.request_context import Context, RequestContext
from mosaic_emulator.routes.uploads import find_upload
from mosaic_emulator.runs.inputs import StartBody, resolve_inputs
from mosaic_emulator.runs.models import Run, RunInput

router = APIRouter()


def find_run(context: RequestContext, run_id: str) -> Run:
    """Return a run. Raise 404 if it does not exist."""
    run = context.state.runs.get(run_id)
    if run is None or not context.is_visible(run.agent.workspace_id):
        raise ApiError(404, "Agent run could not be found")
    return run


@router.post("/agent/{agent_id}/run")
async def start_run(agent_id: str, context: Context) -> Response:
    """Start a run. There is no idempotency key: a repeated request starts a second run."""
    state, settings = context.state, context.settings
    agent = find_agent(context, agent_id)
    body = context.body(StartBody)
    if not agent.nodes and settings.empty_agents == "refuse":
        raise ApiError(400, "The agent has no tiles")
    if body.callback_url is not None and not is_http_url(body.callback_url):
        raise context.invalid_request("callback_url: not an http or https URL", "body", "callback_url")
    inputs = resolve_inputs(agent, body, settings)
    for each in inputs:
        _attach_source(context, each)
    most = settings.max_concurrent_runs
    if most is not None and sum(run.active for run in state.runs.values()) >= most:
        raise ApiError(403, "Too many runs at once", code="concurrent_agent_limit")
    run = state.start_run(
        agent,
        inputs,
        ignored=body.ignore_nodes or [],
        params=body.update_params,
        callback_url=body.callback_url,
    )
    summary = context.settings.start_response == "summary"
    return context.respond(state.run_summary_json(run) if summary else {"run_id": run.id})


def _attach_source(context: RequestContext, source: RunInput) -> None:
    state = context.state
    if source.kind == "video_ids":
        upload = find_upload(context, source.reference, "video")
        if upload is None or not upload.is_stored or (context.settings.finalize_required and not upload.finalized):
            raise ApiError(context.settings.unknown_input_status, f"Video {source.reference} could not be found")
        source.file_name = upload.file_name
        # With `discard_uploads` the sample replaces the discarded file.
        source.media = upload.media or state.media.put(f"inputs/{uuid.uuid4()}.mp4", SAMPLE_VIDEO, "video/mp4")
    elif source.kind == "node_render_ids":
        source.media = state.render_by_id(source.reference)
        if source.media is None:
            raise ApiError(context.settings.unknown_input_status, f"Render {source.reference} could not be found")


@router.get("/agent_run/{run_id}")
async def get_run(run_id: str, context: Context) -> Response:
    """Return one run."""
    return context.respond(context.state.run_json(find_run(context, run_id)))


@router.get("/agent_run/{run_id}/nodes")
async def list_run_nodes(run_id: str, context: Context) -> Response:
    """Return the nodes of a run."""
    run = find_run(context, run_id)
    return context.respond({"run_id": run.id, "nodes": [node.as_json() for node in run.nodes.values()]})


@router.get("/agent/{agent_id}/runs")
async def list_agent_runs(agent_id: str, context: Context) -> Response:
    """List the runs of an agent."""
    context.allow_query("limit", "cursor", "status", "from", "to")
    return _list(context, find_agent(context, agent_id).id)


@router.get("/trigger/{trigger_id}/runs")
async def list_trigger_runs(trigger_id: str, context: Context) -> Response:
    """List the runs that a trigger started."""
    context.allow_query("limit", "cursor", "status", "from", "to")
    state = context.state
    known = trigger_id in state.triggers.triggers or trigger_id in state.storage_events.triggers
    if not known and context.settings.unknown_trigger_runs == 404:
        raise ApiError(404, "Trigger could not be found")
    return _list(context, None, trigger_id)


@router.get("/agent_runs")
async def list_runs(context: Context) -> Response:
    """List the runs of all agents."""
    context.allow_query("limit", "cursor", "status", "from", "to", "agent_id")
    return _list(context, context.query("agent_id"))


def _list(context: RequestContext, agent_id: str | None, trigger_id: str | None = None) -> Response:
    status, since, until = context.query("status"), context.query_time("from"), context.query_time("to")
    statuses = {each.strip() for each in status.split(",")} if status is not None else None
    listed_until = time.monotonic() - context.settings.list_lag

    def matches(run: Run) -> bool:
        return (
            run.created_monotonic <= listed_until
            and context.is_visible(run.agent.workspace_id)
            and (agent_id is None or run.agent.id == agent_id)
            and (trigger_id is None or (run.triggered_by or {}).get("trigger_id") == trigger_id)
            and (statuses is None or run.status in statuses)
            and (since is None or run.created_at >= since)
            and (until is None or run.created_at <= until)
        )

    return context.page(
        "runs",
        context.state.runs,
        number=lambda run: run.number,
        matches=matches,
        to_json=context.state.run_summary_json,
        filters=("status", "from", "to", "agent_id"),
    )


@router.post("/agent_run/{run_id}/cancel")
async def cancel_run(run_id: str, context: Context) -> Response:
    """Cancel an active run."""
    context.require_empty_body()
    run = find_run(context, run_id)
    if not run.active:
        refusal = context.settings.cancel_terminal_status
        if refusal != 200:
            raise ApiError(refusal, f"The run is {run.status} and can't be cancelled")
        tasks, nodes = 0, 0
    else:
        tasks, nodes = context.state.engine.cancel(run)
        context.state.counters.add("runs_cancelled")
    response = {
        "success": True,
        "run_id": run.id,
        "tasks_cancelled": tasks,
        "nodes_reset": nodes,
        "message": "Run stopped",
    }
    return context.respond(response, body_required=False)


@router.post("/agent_run/{run_id}/resume")
async def resume_run(run_id: str, context: Context) -> Response:
    """Resume a failed or cancelled run."""
    context.require_empty_body()
    run = find_run(context, run_id)
    if run.status not in ("failed", "cancelled"):
        raise ApiError(409, f"The run is {run.status} and can't be resumed")
    queued = len(context.state.engine.resume(run))
    context.state.counters.add("runs_resumed")
    response = {
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
    return context.respond(response, body_required=False)
