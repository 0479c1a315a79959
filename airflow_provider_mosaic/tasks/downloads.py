"""The life of a task that fetches a run's renders: each file once, whole, with links that are fresh when needed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_mosaic.api.arguments import checked_choice, checked_flag, checked_id, checked_list, refuse
from airflow_provider_mosaic.api.assets import MEDIA_TYPES, AssetType
from airflow_provider_mosaic.api.errors import MosaicNotFoundError, MosaicRunFailedError
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.api.reports import still_going_on
from airflow_provider_mosaic.api.runs import Output, Run
from airflow_provider_mosaic.api.verdicts import judge_run
from airflow_provider_mosaic.clients.downloading import fetch, look, measure
from airflow_provider_mosaic.clients.progress import size_words
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.places import Folder
from airflow_provider_mosaic.links import agent_url, push_agent_link
from airflow_provider_mosaic.tasks.outputs import with_outputs

log = logging.getLogger(__name__)

#: What an output has, with the field of its link and the suffix where that is fixed.
PARTS = {
    "video": ("video_url", None),
    "thumbnail": ("thumbnail_url", ".jpg"),
    "premiere": ("premiere_prproj_url", ".premiere.zip"),
}
_NOT_IN_A_NAME = re.compile(r"[^\w.\- ]")
#: Bytes. File systems take names of 255, and there may be more than the id in one.
_LONGEST_NAME_PART = 180
_VIDEO_SUFFIXES = {media: suffix for suffix, media in MEDIA_TYPES[AssetType.VIDEO].items()}


class DownloadTask:
    """
    One slice of the task on a worker.

    :param hook: The connection.
    :param run_id: The run.
    :param destination: The folder.
    :param include: Which parts of each output.
    :param filename: The name of a file, with ``{output_id}``, ``{run_id}``, ``{index}``, ``{part}`` and ``{suffix}``.
    :param overwrite: Whether another file of that name is replaced.
    """

    def __init__(
        self,
        hook: MosaicHook,
        *,
        run_id: str,
        destination: Any,
        include: Iterable[str],
        filename: str,
        overwrite: bool,
    ) -> None:
        self._hook = hook
        self._run_id = checked_id("run_id", run_id)
        self._parts = [checked_choice("include", part, PARTS) for part in checked_list("include", include)]
        self._filename = filename
        self._overwrite = checked_flag("overwrite", overwrite)
        self._folder = Folder(destination)
        self._name("0" * 8, 0, "video", ".mp4")

    def download(self, context: Mapping[str, Any]) -> list[str]:
        """
        Fetch what is asked for.

        :param context: The task's context.
        :returns: Absolute paths or URIs, in the order of the outputs.
        :raises MosaicRunFailedError: The run is still going on, or it rendered nothing.
        """
        run = with_outputs(self._hook, self._hook.get_run(self._run_id))
        push_agent_link(context, agent_url(run.agent_id, self._hook.access.base_url))
        verdict = judge_run(run)
        if not verdict.ended:
            raise still_going_on(run, before="its outputs are fetched")
        if not run.outputs:
            raise MosaicRunFailedError(
                f"Run {self._run_id!r} is {run.status} and has no outputs: there is nothing to fetch.",
                run_id=self._run_id,
            )
        files: list[str] = []
        names: set[str] = set()
        for index, output in enumerate(run.outputs):
            for part in self._parts:
                if getattr(output, PARTS[part][0]):
                    name = self._fetched(run, output, index, part, names)
                    files.append(self._folder.uri_of(name))
                elif part == "video":
                    log.warning("Output %r has no video.", output.output_id)
        if not files and "video" in self._parts:
            raise MosaicRunFailedError(
                f"Run {self._run_id!r} is {run.status} with {len(run.outputs)} output(s), but gives no link to any of "
                "them: nothing was fetched.",
                to_do="The links may come later.",
                run_id=self._run_id,
            )
        log.info("Run %r: %d file(s) of %d output(s).", self._run_id, len(files), len(run.outputs))
        return files

    def _fetched(self, run: Run, output: Output, index: int, part: str, names: set[str]) -> str:
        """Fetch one file unless it is there already; its name."""
        policy = self._hook.access.link_policy
        facts = look(_Links(self._hook, run, output, part), policy=policy)
        suffix = PARTS[part][1] or _video_suffix(str(output.video_url)) or _VIDEO_SUFFIXES.get(facts.media_type or "")
        name = self._name(output.output_id or f"output-{index}", index, part, suffix or ".mp4")
        if name in names:
            refuse("filename", self._filename, f"it gives two files the name {name!r}: use {{output_id}} or {{index}}.")
        names.add(name)
        present = self._folder.size_of(name)
        uri = redact(self._folder.uri_of(name))
        if present is not None and not self._overwrite:
            whole = facts.size
            if whole is None:
                # A host that does not tell the length beforehand tells it by sending the file.
                whole = measure(
                    _Links(self._hook, run, output, part),
                    most=present,
                    policy=policy,
                    progress=lambda progress: log.info("%s", progress),
                )
            if present == whole:
                log.info("%s is there already, with the right length.", uri)
                return name
            refuse(
                "destination",
                uri,
                f"another file is there ({size_words(present)}; the output has "
                f"{'more' if whole is None else size_words(whole)}). Set overwrite=True to replace it, or choose "
                "another destination or filename.",
            )
        size = fetch(
            _Links(self._hook, run, output, part),
            self._folder.target(name),
            policy=policy,
            progress=lambda progress: log.info("%s", progress),
        )
        log.info("Fetched %s (%s).", uri, size_words(size))
        return name

    def _name(self, output_id: str, index: int, part: str, suffix: str) -> str:
        try:
            name = self._filename.format(
                output_id=_in_a_name(output_id), run_id=self._run_id, index=index, part=part, suffix=suffix
            )
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            refuse(
                "filename",
                self._filename,
                f"it may hold {{output_id}}, {{run_id}}, {{index}}, {{part}} and {{suffix}} ({error!r}).",
            )
        if not name.strip("/ ") or name.startswith("/") or ".." in name.split("/"):
            refuse("filename", self._filename, "it must give the name of a file below the destination.")
        return name


class _Links:
    """Links to one part of an output: the one that came with the run, then a fresh one each time it is asked for."""

    def __init__(self, hook: MosaicHook, run: Run, output: Output, part: str) -> None:
        self._hook = hook
        self._run_id = run.run_id
        self._output_id = output.output_id
        self._index = run.outputs.index(output)
        self._field = PARTS[part][0]
        self._known: str | None = getattr(output, self._field)

    def __call__(self) -> str:
        link, self._known = self._known, None
        return link or self._fresh()

    def _fresh(self) -> str:
        for index, output in enumerate(self._hook.get_run(self._run_id).outputs):
            same = output.output_id == self._output_id if self._output_id else index == self._index
            if same and getattr(output, self._field):
                return str(getattr(output, self._field))
        raise MosaicNotFoundError(f"Run {self._run_id!r} has no output {self._output_id!r} with that part any more.")


def _in_a_name(output_id: str) -> str:
    """An id of the server as a part of a file's name: it leads to no other folder, and hides nothing."""
    name = _NOT_IN_A_NAME.sub("_", output_id).lstrip(".")
    return name.encode("utf-8", "replace")[:_LONGEST_NAME_PART].decode("utf-8", "ignore") or "_"


def _video_suffix(link: str) -> str | None:
    """The suffix of a link's file name, if it is one of a video."""
    suffix = PurePosixPath(urlsplit(link).path).suffix.lower()
    return suffix if suffix in MEDIA_TYPES[AssetType.VIDEO] else None
