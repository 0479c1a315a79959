"""
The JSON of the pages: what the server sends and what the scripts in ``static/`` read.

All URLs are relative to the plugin's prefix (``/mosaic``) and have no leading slash. Signed links never appear here: a
``media/...`` URL redirects to a fresh one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from airflow_provider_mosaic.api.redaction import redact

ProblemKind = Literal["not_started", "not_ours", "not_found", "no_access", "unreachable"]
MediaKind = Literal["video", "image", "audio", "file"]
ItemKind = Literal["run", "post", "asset"]

#: Characters of a message.
MAX_MESSAGE_LENGTH = 1_000


def message_of(text: str | None) -> str | None:
    """Return a message of Mosaic for a page: without secrets, and not too long."""
    return redact(text, longest=MAX_MESSAGE_LENGTH) if text else None


class PageModel(BaseModel):
    """Base class of the JSON objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(PageModel):
    """
    Why a page is incomplete.

    - ``not_started``: the task has not created anything in Mosaic yet.
    - ``not_ours``: the task has nothing to do with Mosaic.
    - ``not_found``: Mosaic does not know the item any more.
    - ``no_access``: the connection is missing or wrong, or its API key may not read the item.
    - ``unreachable``: Mosaic does not respond now. What was read last is shown.
    """

    kind: ProblemKind
    message: str


class Media(PageModel):
    """
    A video, an image, an audio file or another file.

    :param url: Redirects to the file. ``?renew=1`` asks for a new link if the last one has expired.
    :param thumbnail_url: Redirects to a preview image; null if there is none.
    :param premiere_url: Redirects to the Premiere project; null if there is none.
    """

    id: str
    name: str
    kind: MediaKind
    content_type: str | None = None
    url: str | None = None
    thumbnail_url: str | None = None
    premiere_url: str | None = None


class NodeProgress(PageModel):
    """Number of nodes of a run by status."""

    completed: int
    in_progress: int
    failed: int
    total: int


class Tile(PageModel):
    """A tile of a run with its status: ``failed``, ``running``, ``completed``, ``not_started``, ``queued``, ..."""

    name: str
    status: str
    message: str | None
    needs_credits: bool


class RunDetails(PageModel):
    """
    A run.

    :param outcome: What the status means.
    :param ended_at: When it ended; null while it is running, and if Mosaic does not report it.
    :param agent_name: Null if it cannot be read.
    :param tiles: The failed ones first, then those that are running.
    :param editor_url: The agent's page in Mosaic's editor, an absolute URL; null if there is none.
    """

    id: str
    agent_id: str | None
    agent_name: str | None
    status: str
    outcome: Literal["pending", "success", "partial", "failed"]
    status_message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    needs_credits: bool
    nodes: NodeProgress
    tiles: tuple[Tile, ...]
    inputs: tuple[Media, ...]
    outputs: tuple[Media, ...]
    editor_url: str | None


class PostDestination(PageModel):
    """
    A destination of a post.

    :param url: The public address of the post, an absolute URL; null if there is none.
    :param metrics: Numbers by name; empty if there are none.
    """

    platform: str | None
    account: str | None
    status: str | None
    url: str | None
    error: str | None
    metrics: dict[str, float]


class PostDetails(PageModel):
    """A post, with its result at each destination, the failed ones first."""

    id: str
    status: str
    outcome: Literal["pending", "success", "partial", "failed"]
    text: str | None
    scheduled_at: datetime | None
    created_at: datetime | None
    destinations: tuple[PostDestination, ...]


class Action(PageModel):
    """
    Something that the viewer may do with the run: ``POST`` to ``url`` with the page's ``csrf_token``.

    :param label: The text of the button.
    :param cost: What it means for money and for the task. The confirmation shows it.
    """

    name: Literal["cancel", "resume"]
    label: str
    url: str
    cost: str


class TaskPage(PageModel):
    """
    The page of a task instance, ``GET api/tasks/{dag_id}/{run_id}/{task_id}/{map_index}``.

    At most one of ``run``, ``post`` and ``asset`` is set. With a ``problem``, it is what was read last.

    :param kind: What the task has in Mosaic; ``none`` if that is not known.
    :param task_state: The state of the task instance in Airflow.
    :param read_at: When Mosaic was read.
    :param refresh_after: Seconds until the page asks again; null if nothing changes any more.
    :param csrf_token: Sent back in the header ``X-CSRF-Token`` of an action. Null for a viewer who may only read.
    """

    kind: ItemKind | Literal["none"]
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    task_state: str | None
    problem: Problem | None = None
    run: RunDetails | None = None
    post: PostDetails | None = None
    asset: Media | None = None
    read_at: datetime | None = None
    refresh_after: float | None
    actions: tuple[Action, ...] = ()
    csrf_token: str | None = None


class ActionResult(PageModel):
    """
    The result of an action.

    :param done: Whether Mosaic accepted it.
    :param message: What happened, as a sentence.
    """

    done: bool
    message: str


class Card(PageModel):
    """
    Something in Mosaic, with the task instance that created it.

    :param map_label: The name of a mapped task instance: its ``map_index_template``, else its index. Else null.
    :param state: The status of a run when it ended, else the state of the task instance; null before it is scheduled.
    :param task_state: The state of the task instance in Airflow.
    :param needs_credits: Whether the run ended for lack of credits. Mosaic does not report what a run cost.
    :param started_at: When the task created it.
    :param duration: Seconds of the task instance's last attempt until its end, or until now.
    :param page_url: The page of the task instance.
    :param airflow_url: The task instance in Airflow's UI, relative to the plugin's prefix.
    :param thumbnail_url: Redirects to the preview of the first output; null if there is certainly none.
    :param has_media: Whether there may be something to play: the first of the media of ``api/{page_url}``.
    """

    kind: ItemKind
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    map_label: str | None
    item_id: str
    agent_id: str | None
    state: str | None
    task_state: str | None
    needs_credits: bool
    started_at: datetime
    duration: float | None
    page_url: str
    airflow_url: str
    thumbnail_url: str | None
    has_media: bool


class Choices(PageModel):
    """What the filters of the page can be set to: values among the items of these days."""

    kinds: tuple[ItemKind, ...]
    dag_ids: tuple[str, ...]
    agent_ids: tuple[str, ...]
    states: tuple[str, ...]


class LastNight(PageModel):
    """
    The page "Last night", ``GET api/last-night?days=1|7&kind=run|post|asset|all&dag_id=&agent_id=&state=&page=1``.

    :param total: Number of cards on all pages, after the filters.
    :param truncated: Whether older cards of these days are left out, because there are too many.
    :param states: Number of cards by state, after the filters except that of the state.
    """

    days: Literal[1, 7]
    kind: Literal["run", "post", "asset", "all"]
    page: int
    pages: int
    total: int
    truncated: bool
    states: dict[str, int]
    cards: tuple[Card, ...]
    choices: Choices


class AgentNames(PageModel):
    """The names of the agents of a week by id, ``GET api/agent-names``. Agents that cannot be read are missing."""

    names: dict[str, str]
