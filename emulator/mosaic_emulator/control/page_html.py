"""The HTML page: an overview of the emulator's state, without scripts, external links and secrets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from html import escape
from itertools import islice
from typing import Final

from mosaic_emulator.assets.uploads import Upload
from mosaic_emulator.catalogue import WORKSPACES, Agent
from mosaic_emulator.core.faults import Fault
from mosaic_emulator.core.request_log import ReceivedRequest
from mosaic_emulator.media import StoredObject
from mosaic_emulator.runs.models import Output, Run, RunNode
from mosaic_emulator.settings import Settings
from mosaic_emulator.social.posts import Post
from mosaic_emulator.state import State

#: Maximum number of items that a section shows.
MAX_ITEMS: Final = 40
MAX_REQUESTS: Final = 25
#: Longer texts of users and URLs are truncated.
MAX_TEXT: Final = 300
REFRESH_SECONDS: Final = 5
#: Settings whose value is not shown.
SECRET_SETTINGS: Final = frozenset({"webhook_secret", "signature_mark"})

#: Media types that the page embeds. Clients choose the type of an upload, and HTML or SVG could contain a script.
SHOWN: Final = frozenset(
    {
        "video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-m4v", "video/x-msvideo",
        "audio/mpeg", "audio/wav", "audio/x-wav", "audio/mp4", "audio/flac", "audio/ogg", "audio/aac",
        "image/png", "image/jpeg", "image/gif", "image/webp",
    }
)  # fmt: skip

GOOD: Final = frozenset({"completed", "posted", "ready", "active"})
BAD: Final = frozenset({"failed", "partial_failure", "rejected", "expired"})
UNDER_WAY: Final = frozenset({"running", "processing", "pending", "queued"})


def render_page(state: State, *, url: str, refresh: bool) -> str:
    """
    Return the page.

    :param url: URL of the emulator.
    :param refresh: Whether the page reloads every few seconds.
    """
    refresh_tag = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if refresh else ""
    refresh_link = '<a href="/">Stop refreshing</a>' if refresh else '<a href="/?refresh">Refresh every 5 seconds</a>'
    sections = "".join(
        (
            _faults_and_settings(state),
            _runs(state),
            _posts(state),
            _assets(state),
            _agents(state),
            _requests(state),
        )
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{refresh_tag}'
        '<title>Mosaic emulator</title><link rel="icon" href="/_emulator/icon.svg">'
        '<link rel="stylesheet" href="/_emulator/page.css"></head><body>'
        "<header><div><h1>Mosaic emulator</h1>"
        f"<p>A local emulator of the Mosaic API at <code>{escape(url)}</code>. Nothing here costs credits, "
        f"and nothing is published.</p></div><p class=refresh>{refresh_link}</p></header>"
        f"{_summary(state)}<main>{sections}</main>"
        f"<footer><p>As of {_time(datetime.now(timezone.utc))}. As JSON: {_json_links()}</p></footer>"
        "</body></html>"
    )


def _json_links() -> str:
    names = ("counts", "runs", "posts", "uploads", "agents", "requests", "faults")
    return " ".join(f'<a href="/_emulator/{each}">{each}</a>' for each in names)


def _summary(state: State) -> str:
    counts = state.counters.as_json()
    active = sum(run.active for run in state.runs.values())
    figures = [
        ("Runs", str(len(state.runs)), f"{active} active" if active else ""),
        ("Posts", str(len(state.posts)), ""),
        ("Assets", str(len(state.uploads.all())), _size(counts["bytes_stored"])),
        ("Downloads", str(counts["downloads"]), _size(counts["bytes_served"])),
        ("Webhooks", str(counts["webhooks_sent"]), _failed(counts["webhooks_failed"])),
        ("Requests", str(sum(counts["requests"].values())), ""),
    ]
    shown = "".join(
        f"<li><b>{number}</b><span>{name}</span><small>{escape(more)}</small></li>" for name, number, more in figures
    )
    leaks = counts["key_leaks"]
    warning = (
        f"<p class=warning>{leaks} request{'s' * (leaks != 1)} carried an API key to the storage host. "
        "A client must never do that.</p>"
        if leaks
        else ""
    )
    return f"<ul class=figures>{shown}</ul>{warning}"


def _failed(count: int) -> str:
    return f"{count} failed" if count else ""


# Faults and settings


def _faults_and_settings(state: State) -> str:
    faults = [_fault(each) for each in state.faults.pending()]
    defaults = Settings().model_dump()
    changed = [
        f"<li><code>{escape(name)}</code> = <code>{_value(name, value)}</code></li>"
        for name, value in state.settings.model_dump().items()
        if value != defaults[name]
    ]
    inner = _list("Injected faults", faults, "None.") + _list("Changed settings", changed, "None.")
    return _section("Faults and settings", f"<div class=pair>{inner}</div>")


def _fault(fault: Fault) -> str:
    times = "always" if fault.times is None else f"{fault.times}\u00d7"
    more = [times]
    more += [f"after {fault.skip} more"] if fault.skip else []
    more += [f"{fault.probability:.0%} of the time"] if fault.probability < 1 else []
    more += [f"{name}={_truncate(str(value))}" for name, value in fault.options.items()]
    where = f"{fault.method} {fault.path}"
    return (
        f"<li><b class=fault>{escape(fault.kind)}</b> <code>{escape(_truncate(where))}</code> "
        f"<small>{escape(', '.join(more))}</small></li>"
    )


def _value(name: str, value: object) -> str:
    return "(hidden)" if name in SECRET_SETTINGS else escape(_truncate(str(value)))


def _list(title: str, items: list[str], empty: str) -> str:
    inner = f"<ul>{''.join(items)}</ul>" if items else f"<p class=empty>{empty}</p>"
    return f"<div><h3>{title}</h3>{inner}</div>"


# Runs


def _runs(state: State) -> str:
    runs = (_run(state, each) for each in reversed(state.runs.values()))
    return _cards("Runs", runs, len(state.runs), "No run has been started.")


def _run(state: State, run: Run) -> str:
    nodes = "".join(f"<li>{_node(each)}</li>" for each in run.nodes.values())
    message = run.status_message or ""
    messages = [message]
    for node in run.nodes.values():
        name = node.template.type.name or "Tile"
        messages += [f"{name}: {text}" for text in node.errors if text not in message]
    messages_html = "".join(
        f"<p class=message>{escape(_truncate(each))}</p>" for each in dict.fromkeys(messages) if each
    )
    sources = ", ".join(escape(each.title) for each in run.inputs)
    origin = "by a trigger" if run.triggered_by else "by the API"
    resumed = f", resumed {run.resumed}\u00d7" if run.resumed else ""
    outputs = "".join(_output(run, each) for each in run.outputs if each.visible_from <= time.monotonic())
    if run.status == "failed":
        # The API does not return the outputs of a failed run.
        outputs = ""
    return (
        f"<article><h3>{escape(run.agent.name)} {_badge(run.status)}</h3>"
        f"<p class=facts>{_id(run.id)} started {_time(run.started_at)} {origin}{resumed}</p>"
        f"{f'<p class=facts>From {sources}</p>' if sources else ''}"
        f"<ol class=nodes>{nodes}</ol>{messages_html}"
        f"{f'<div class=outputs>{outputs}</div>' if outputs else ''}</article>"
    )


def _node(node: RunNode) -> str:
    name = escape(node.template.type.name or "Tile")
    return f'<span class="node {_tone(node.status)}">{name}<small>{escape(node.status)}</small></span>'


def _output(run: Run, output: Output) -> str:
    base = f"/_emulator/runs/{escape(run.id)}/outputs/{escape(output.id)}"
    about = f"<figcaption>{_id(output.id)} {_size(output.video.size)}</figcaption>"
    if output.kind == "image":
        media = f'<img src="{base}/media" alt="Generated image" loading="lazy">'
    elif output.kind == "audio":
        media = f'<audio controls preload="none" src="{base}/media"></audio>'
    else:
        shown = f'preload="none" poster="{base}/thumbnail"' if output.thumbnail else 'preload="metadata"'
        media = f'<video controls playsinline {shown} src="{base}/media"></video>'
    return f"<figure>{media}{about}</figure>"


# Posts, assets, agents, requests


def _posts(state: State) -> str:
    posts = (_post(each) for each in reversed(state.posts.values()))
    return _cards("Posts", posts, len(state.posts), "No post has been created.")


def _post(post: Post) -> str:
    destinations = "".join(
        f'<li><span class="node {_tone(each.status)}">{escape(each.connection.platform)}'
        f"<small>{escape(each.status)}</small></span>"
        f"{f'<small class=message>{escape(_truncate(each.error))}</small>' if each.error else ''}</li>"
        for each in post.destinations
    )
    media = f"{len(post.media_urls)} media file{'s' * (len(post.media_urls) != 1)}"
    when = f", scheduled for {_time(post.schedule)}" if post.schedule else ""
    text = f"<blockquote>{escape(_truncate(post.text))}</blockquote>" if post.text else ""
    return (
        f"<article><h3>{escape(', '.join(post.platforms))} {_badge(post.status)}</h3>{text}"
        f"<p class=facts>{_id(post.id)} created {_time(post.created_at)}, {media}{when}</p>"
        f"<ol class=nodes>{destinations}</ol></article>"
    )


def _assets(state: State) -> str:
    uploads = state.uploads.all()
    return _cards("Assets", map(_asset, reversed(uploads)), len(uploads), "Nothing has been uploaded.")


def _asset(upload: Upload) -> str:
    if upload.finalized:
        state = "ready"
    elif upload.is_stored:
        state = "stored, not finalized"
    else:
        state = "expired" if upload.expired else "waiting for the file"
    size = "" if upload.size is None else _size(upload.size)
    base = f"/_emulator/uploads/{escape(upload.id)}/media"
    media = ""
    if upload.media is not None and upload.finalized and media_type(upload.media) in SHOWN:
        media = {
            "video": f'<video controls preload="metadata" playsinline src="{base}"></video>',
            "audio": f'<audio controls preload="none" src="{base}"></audio>',
            "image": f'<img src="{base}" alt="Asset" loading="lazy">',
        }[upload.type]
    return (
        f"<article><h3>{escape(_truncate(upload.file_name or upload.type))} {_badge(state)}</h3>"
        f"<p class=facts>{_id(upload.id)} {escape(upload.type)} {size}</p>"
        f"{f'<div class=outputs><figure>{media}</figure></div>' if media else ''}</article>"
    )


def _agents(state: State) -> str:
    agents = sorted(state.agents.values(), key=lambda each: each.number)
    return _cards("Agents", (_agent(state, each) for each in agents), len(agents), "No agent exists.")


def _agent(state: State, agent: Agent) -> str:
    tiles = "".join(
        f"<li><span class=node>{escape(each.type.name or 'Tile')}</span></li>" for each in agent.nodes.values()
    )
    triggers = len(state.triggers.of_agent(agent.id))
    watched = f", {triggers} YouTube trigger{'s' * (triggers != 1)}" if triggers else ""
    runs = sum(run.agent.id == agent.id for run in state.runs.values())
    workspace = "" if agent.workspace_id == WORKSPACES[0] else f", in workspace {_id(agent.workspace_id)}"
    return (
        f"<article><h3>{escape(agent.name)}</h3><p class=facts>{_id(agent.id)}</p>"
        f"<p class=facts>{escape(_truncate(agent.description))}</p><ol class=nodes>{tiles}</ol>"
        f"<p class=facts>{runs} run{'s' * (runs != 1)}{watched}{workspace}</p></article>"
    )


def _requests(state: State) -> str:
    latest = state.log.latest(MAX_REQUESTS)
    if not latest:
        return _section("Latest requests", "<p class=empty>No request was received.</p>")
    return _section("Latest requests", f"<ol class=requests>{''.join(map(_request, latest))}</ol>")


def _request(entry: ReceivedRequest) -> str:
    status = "no response" if entry.status is None else str(entry.status)
    tone = "bad" if entry.status is None or entry.status >= 400 else ""
    fault = f" <b class=fault>{escape(entry.fault)}</b>" if entry.fault else ""
    host = " <small>storage</small>" if entry.host == "storage" else ""
    return (
        f'<li><span class="status {tone}">{status}</span> <b>{escape(_truncate(entry.method))}</b> '
        f"<code>{escape(_truncate(entry.path))}</code>{host}{fault}</li>"
    )


# Building blocks


def media_type(stored: StoredObject) -> str:
    """Return the media type of an object without parameters."""
    return stored.content_type.partition(";")[0].strip().lower()


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{title}</h2>{inner}</section>"


def _cards(title: str, cards: Iterable[str], count: int, empty: str) -> str:
    if not count:
        return _section(title, f"<p class=empty>{empty}</p>")
    shown = "".join(_first(cards))
    left = f"<p class=empty>{count - MAX_ITEMS} more are not shown.</p>" if count > MAX_ITEMS else ""
    return _section(f"{title} <small>{count}</small>", f"<div class=cards>{shown}</div>{left}")


def _first(cards: Iterable[str]) -> Iterator[str]:
    return islice(cards, MAX_ITEMS)


def _badge(status: str) -> str:
    return f'<span class="badge {_tone(status)}">{escape(_truncate(status))}</span>'


def _tone(status: str) -> str:
    if status in GOOD:
        return "good"
    if status in BAD:
        return "bad"
    return "busy" if status in UNDER_WAY else "other"


def _id(text: str) -> str:
    return f"<code class=id>{escape(_truncate(text))}</code>"


def _time(moment: datetime) -> str:
    text = moment.astimezone(timezone.utc)
    return f'<time datetime="{text.isoformat(timespec="seconds")}">{text:%Y-%m-%d %H:%M:%S} UTC</time>'


def _size(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes" if size else ""


def _truncate(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\u2026"
