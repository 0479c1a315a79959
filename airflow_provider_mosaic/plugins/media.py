"""The media of an item: what a page shows of them, and the signed links that a request is redirected to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Literal, cast, get_args
from urllib.parse import quote, unquote

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import split_url
from airflow_provider_mosaic.api.endpoints.assets import ViewLink
from airflow_provider_mosaic.api.endpoints.runs import Output, Run, RunInput, RunNode
from airflow_provider_mosaic.api.media_types import AssetType, kind_of_suffix, media_type_of_suffix
from airflow_provider_mosaic.api.redaction import label
from airflow_provider_mosaic.page_address import task_path
from airflow_provider_mosaic.plugins.items import TaskKey
from airflow_provider_mosaic.plugins.pages import Media, MediaKind
from airflow_provider_mosaic.tasks.reporting import TaskItem

#: Part of an output or an asset. ``video`` is the file itself, also if it is an image or audio.
Variant = Literal["video", "thumbnail", "premiere"]

#: Stands for the id of the first output with a file, or of the asset.
FIRST = "first"

#: Outputs of a run that a page shows, and inputs. Many thousands would block the API server for seconds.
_MAX_MEDIA = 1_000
_SAFE_ID = re.compile(r"[\w-][\w.-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class MediaLinks:
    """The signed links of one file. None of them may get into a page."""

    media: str | None
    thumbnail: str | None
    premiere: str | None = None

    def of(self, variant: Variant) -> str | None:
        """Return the link to a part; None if there is none."""
        if variant == "thumbnail":
            return self.thumbnail
        return self.premiere if variant == "premiere" else self.media


def run_links(run: Run) -> dict[str, MediaLinks]:
    """Return the links of a run's outputs and inputs by media id."""
    links = {
        media_id: MediaLinks(
            media=output.media_url,
            thumbnail=output.thumbnail_url or (output.media_url if _output_kind(output) == "image" else None),
            premiere=output.premiere_prproj_url,
        )
        for media_id, output in _outputs(run).items()
    }
    first = next((each for each in links.values() if each.media), None)
    inputs = {
        f"input-{index}": MediaLinks(
            media=item.video_url or item.image_url or item.audio_url,
            thumbnail=item.thumbnail_url or item.image_url,
        )
        for index, item in enumerate(run.inputs[:_MAX_MEDIA])
    }
    return {**inputs, **links, **({FIRST: first} if first else {})}


def asset_links(item: TaskItem, link: ViewLink) -> dict[str, MediaLinks]:
    """Return the links of an asset by media id."""
    thumbnail = link.thumbnail_url or (link.signed_url if item.asset_type is AssetType.IMAGE else None)
    links = MediaLinks(media=link.signed_url, thumbnail=thumbnail)
    return {item.id: links, FIRST: links}


def output_media(run: Run, nodes: tuple[RunNode, ...], key: TaskKey) -> tuple[Media, ...]:
    """Return the outputs of a run for its page."""
    links = run_links(run)
    names = {node.original_node_id: label(node.node_type.node_type_name or "") for node in nodes}
    shown = tuple(
        _media(
            key,
            media_id,
            name=(names.get(output.original_node_id) if output.original_node_id else None) or f"Output {number}",
            kind=_output_kind(output),
            links=links[media_id],
        )
        for number, (media_id, output) in enumerate(_outputs(run).items(), start=1)
    )
    return shown + _rest(len(run.outputs))


def input_media(run: Run, key: TaskKey) -> tuple[Media, ...]:
    """Return the inputs of a run for its page."""
    links = run_links(run)
    shown = tuple(
        _media(
            key,
            f"input-{index}",
            name=f"Input {index + 1}",
            kind=_input_kind(item),
            links=links[f"input-{index}"],
        )
        for index, item in enumerate(run.inputs[:_MAX_MEDIA])
    )
    return shown + _rest(len(run.inputs))


def _rest(count: int) -> tuple[Media, ...]:
    """Return what stands for the files that a page does not show."""
    if count <= _MAX_MEDIA:
        return ()
    name = f"{count - _MAX_MEDIA:,} more, which are not shown"
    return (Media(id="more", name=name, kind="file"),)


def asset_media(item: TaskItem, link: ViewLink, key: TaskKey) -> Media:
    """Return an asset for its page."""
    kind: MediaKind = "file" if item.asset_type is None else item.asset_type.value
    return _media(key, item.id, name=f"Uploaded {kind}", kind=kind, links=asset_links(item, link)[item.id])


def is_safe_link(link: str, access: Access) -> bool:
    """
    Return whether a browser may be redirected to a link.

    It is https, or http where the connection allows it. A host that is written as an address, or whose name only means
    a host nearby, must be one that workers may connect to. The browser looks up other names.
    """
    try:
        parts = split_url(link)
        host = parts.hostname
    except ValueError:
        return False
    if not host or "@" in parts.netloc or "\\" in link or not link.isprintable():
        return False
    policy = access.link_policy
    if policy.refusal(host, _as_address(host), secure=True) is not None:
        return False
    if parts.scheme == "https":
        return True
    return parts.scheme == "http" and (policy.private or (policy.loopback and _is_loopback(host)))


def media_sources(access: Access) -> tuple[str, ...]:
    """Return the sources of media for the Content-Security-Policy of a page."""
    if access.link_policy.private:
        return ("https:", "http:")
    if access.link_policy.loopback:
        # Chromium rejects IPv6 addresses in a Content-Security-Policy.
        return ("https:", "http://127.0.0.1:*", "http://localhost:*")
    return ("https:",)


def _as_address(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")


def _outputs(run: Run) -> Mapping[str, Output]:
    """Return the outputs by media id: their own, or their place if they have none."""
    found: dict[str, Output] = {}
    for index, output in enumerate(run.outputs[:_MAX_MEDIA]):
        own = output.output_id
        is_reserved = own == FIRST or own.startswith(("input-", "output-"))
        is_usable = _SAFE_ID.fullmatch(own) and own not in found and not is_reserved
        found[own if is_usable else f"output-{index}"] = output
    return found


def _output_kind(output: Output) -> MediaKind:
    by_field: dict[str | None, MediaKind] = {"video_url": "video", "image_url": "image", "audio_url": "audio"}
    # A generation tile may have an image or audio behind video_url.
    return _kind_of_link(output.media_url) or by_field.get(output.media_field, "file")


def _input_kind(item: RunInput) -> MediaKind:
    if item.video_url:
        return _kind_of_link(item.video_url) or "video"
    return "image" if item.image_url else "audio" if item.audio_url else "file"


def _kind_of_link(link: str | None) -> MediaKind | None:
    kind = kind_of_suffix(_suffix(link))
    return cast("MediaKind", kind) if kind in get_args(MediaKind) else None


def _suffix(link: str | None) -> str:
    try:
        # The end is enough: a page has a thousand links, and each may be long.
        return PurePosixPath(unquote(split_url(link or "").path[-100:])).suffix.lower()
    except ValueError:
        return ""


def _media(key: TaskKey, media_id: str, *, name: str, kind: MediaKind, links: MediaLinks) -> Media:
    base = f"media/{task_path(key)}/{quote(media_id, safe='')}"

    def url(variant: Variant) -> str | None:
        return f"{base}/{variant}" if links.of(variant) else None

    return Media(
        id=media_id,
        name=name,
        kind=kind,
        content_type=media_type_of_suffix(_suffix(links.media)) or None,
        url=url("video"),
        thumbnail_url=url("thumbnail"),
        premiere_url=url("premiere"),
    )
