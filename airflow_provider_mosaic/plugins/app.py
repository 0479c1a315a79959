"""The web app behind the pages, mounted in Airflow's API server under ``/mosaic``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BeforeValidator

from airflow_provider_mosaic.api.errors import MosaicError, MosaicNotFoundError
from airflow_provider_mosaic.plugins import webhooks
from airflow_provider_mosaic.plugins.access import (
    MAY_EDIT,
    MAY_READ,
    CurrentViewer,
    ReadableDags,
    check_csrf,
    csrf_token,
)
from airflow_provider_mosaic.plugins.actions import ActionName, act
from airflow_provider_mosaic.plugins.item_details import agent_names
from airflow_provider_mosaic.plugins.items import TaskKey, TaskRecord, find_task
from airflow_provider_mosaic.plugins.last_night import last_night, used_agents
from airflow_provider_mosaic.plugins.media import (
    MediaLinks,
    Variant,
    asset_links,
    is_safe_link,
    media_sources,
    run_links,
)
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.pages import ActionResult, AgentNames, ItemKind, LastNight, TaskPage
from airflow_provider_mosaic.plugins.task_page import read_asset, read_run, task_page
from airflow_provider_mosaic.tasks.reporting import TaskItem

_STATIC = Path(__file__).with_name("static")
#: Seconds for which links are used again. Mosaic's links are valid for hours.
_LINKS_MAX_AGE = 60.0
#: The same if a browser reports that a link did not work.
_RENEWED_MAX_AGE = 1.0

_TASK = "/tasks/{dag_id}/{run_id}/{task_id}/{map_index}"
_MEDIA = f"/media{_TASK}/{{media_id}}"

router = APIRouter()


def create_app() -> FastAPI:
    """Return the app."""
    app = FastAPI(title="Mosaic", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.reads = MosaicReads()
    app.middleware("http")(_add_security_headers)
    app.include_router(router)
    app.include_router(webhooks.create_router())
    app.mount("/static", _RevalidatedFiles(directory=_STATIC), name="static")
    return app


# Dependencies


def _task_key(dag_id: str, run_id: str, task_id: str, map_index: str) -> TaskKey:
    # Airflow's UI leaves the placeholder as it is for a task that is not mapped.
    is_index = map_index.isascii() and map_index.isdecimal() and len(map_index) < 10
    return TaskKey(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=int(map_index) if is_index else -1)


def _task(key: Annotated[TaskKey, Depends(_task_key)]) -> TaskRecord:
    task = find_task(key)
    if task is None:
        raise HTTPException(404, "There is no such task instance.")
    return task


def _reads(request: Request) -> MosaicReads:
    reads: MosaicReads = request.app.state.reads
    return reads


Task = Annotated[TaskRecord, Depends(_task)]
Reads = Annotated[MosaicReads, Depends(_reads)]


# The page of a task instance


@router.get(_TASK, dependencies=MAY_READ)
async def get_task_shell(task: Task, reads: Reads) -> Response:
    """Return the HTML of the page. Its script requests the rest."""
    return await _shell("task.html", reads, [task.item.conn_id] if task.item else [])


@router.get(f"/api{_TASK}", dependencies=MAY_READ)
async def get_task(task: Task, reads: Reads, viewer: CurrentViewer) -> TaskPage:
    """Return the JSON of the page."""
    token = csrf_token(viewer, task.key) if viewer.may_edit else None
    return await task_page(reads, task, csrf_token=token)


@router.post(f"/api{_TASK}/{{action}}", dependencies=MAY_EDIT)
async def post_action(
    action: ActionName, request: Request, task: Task, reads: Reads, viewer: CurrentViewer
) -> ActionResult:
    """Cancel or resume the task's run."""
    check_csrf(request, viewer, task.key)
    return await act(reads, task, action, viewer)


@router.get(_MEDIA, dependencies=MAY_READ)
@router.get(f"{_MEDIA}/{{variant}}", dependencies=MAY_READ)
async def get_media(
    media_id: str, task: Task, reads: Reads, variant: Variant = "video", renew: bool = False
) -> Response:
    """Redirect to a file of the task's item. ``renew`` requests new links if the last ones do not work."""
    max_age = _RENEWED_MAX_AGE if renew else _LINKS_MAX_AGE
    links = await _links(reads, task.item, max_age=max_age) if task.item else {}
    link = links[media_id].of(variant) if media_id in links else None
    if task.item is None or link is None:
        raise HTTPException(404, "The task has no such file.")
    if not is_safe_link(link, await reads.access(task.item.conn_id)):
        raise HTTPException(502, "Mosaic returned a link that is not opened: it is not https, not public, or too long.")
    return RedirectResponse(link, status_code=307)


async def _links(reads: MosaicReads, item: TaskItem, *, max_age: float) -> dict[str, MediaLinks]:
    """Return the links to the files of an item, by media id. A post has none."""
    error: MosaicError | None = None
    links: dict[str, MediaLinks] = {}
    if item.kind == "run":
        run = await read_run(reads, item, max_age=max_age)
        error, links = run.error, (run_links(run.value) if run.value else {})
    elif item.kind == "asset":
        asset = await read_asset(reads, item, max_age=max_age)
        error, links = asset.error, (asset_links(item, asset.value) if asset.value else {})
    if error is not None and not links and not isinstance(error, MosaicNotFoundError):
        raise HTTPException(503, "Mosaic could not be read.", headers={"Retry-After": "15"})
    return links


# Last night


@router.get("/last-night", dependencies=MAY_READ)
async def get_last_night_shell(reads: Reads, readable_dags: ReadableDags) -> Response:
    """Return the HTML of the page. Its script requests the rest."""
    return await _shell("last_night.html", reads, await run_sync(lambda: used_agents(readable_dags)))


@router.get("/api/last-night", dependencies=MAY_READ)
def get_last_night(
    readable_dags: ReadableDags,
    days: Annotated[Literal[1, 7], BeforeValidator(int)] = 1,
    kind: ItemKind | Literal["all"] = "run",
    dag_id: str | None = None,
    agent_id: str | None = None,
    state: str | None = None,
    page: Annotated[int, Query(ge=1)] = 1,
) -> LastNight:
    """Return the JSON of the page."""
    return last_night(readable_dags, days=days, kind=kind, dag_id=dag_id, agent_id=agent_id, state=state, page=page)


@router.get("/api/agent-names", dependencies=MAY_READ)
async def get_agent_names(reads: Reads, readable_dags: ReadableDags) -> AgentNames:
    """Return the names of the agents on the page. Many viewers share the requests to Mosaic."""
    return AgentNames(names=await agent_names(reads, await run_sync(lambda: used_agents(readable_dags))))


# Files and headers


class _RevalidatedFiles(StaticFiles):
    """Files that a browser caches and revalidates at each use: it uses the scripts of a new version at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a file."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _shell(name: str, reads: MosaicReads, conn_ids: Iterable[str]) -> Response:
    """
    Return an HTML file with its Content-Security-Policy.

    :param conn_ids: The connections whose media the page may load.
    """

    async def sources_of(conn_id: str) -> tuple[str, ...]:
        try:
            return media_sources(await reads.access(conn_id))
        except MosaicError:
            # The JSON of the page reports it.
            return ()

    # At the same time: the lookup of a connection that does not exist can be slow.
    found = await asyncio.gather(*map(sources_of, conn_ids))
    media = " ".join(dict.fromkeys(("https:", *chain.from_iterable(found))))
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "font-src": "'self'",
        "img-src": f"'self' {media}",
        "media-src": f"'self' {media}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'self'",
    }
    header = "; ".join(f"{directive} {value}" for directive, value in policy.items())
    return FileResponse(_STATIC / name, media_type="text/html", headers={"Content-Security-Policy": header})


async def _add_security_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    defaults = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Cache-Control": "no-store",
    }
    for header, value in defaults.items():
        response.headers.setdefault(header, value)
    return response
