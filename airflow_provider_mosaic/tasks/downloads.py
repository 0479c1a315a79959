"""The life of a task that fetches a run's renders: each file once, whole, with links that are fresh when needed."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.api.arguments import raise_invalid, validate_flag, validate_id
from airflow_provider_mosaic.api.endpoints.runs import Output, Run
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicResponseError,
    MosaicRunFailedError,
    MosaicTransportError,
)
from airflow_provider_mosaic.api.media_types import USUAL_SUFFIX, kind_of_suffix, suffix_for
from airflow_provider_mosaic.api.options import format_filename, validate_filename, validate_parts
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.redaction import redact
from airflow_provider_mosaic.api.reports import still_running_words
from airflow_provider_mosaic.clients.download import FileInfo, fetch, measure, read_file_info
from airflow_provider_mosaic.clients.progress import format_size
from airflow_provider_mosaic.durable.xcoms import push_agent_link
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.paths import DownloadDirectory
from airflow_provider_mosaic.tasks.outputs import with_outputs

log = logging.getLogger(__name__)

#: What an output may have, with the field of its link. Without a video, ``video`` is the image or audio in its place.
PARTS = {
    "video": "video_url",
    "image": "image_url",
    "audio": "audio_url",
    "thumbnail": "thumbnail_url",
    "premiere": "premiere_prproj_url",
}
#: What is beside a render. Where it is missing, the render is fetched all the same.
_EXTRAS = frozenset({"thumbnail_url", "premiere_prproj_url"})
#: How it shows that a link leads to no file, unless it may pass.
_MISSING = (MosaicNotFoundError, MosaicPermissionError, MosaicResponseError, MosaicTransportError)
_KINDS = {"image_url": "image", "audio_url": "audio"}
_NOT_IN_A_NAME = re.compile(r"[^\w.\- ]")
#: Bytes. File systems take names of 255, and there may be more than the id in one.
_LONGEST_NAME_PART = 180


@dataclass(frozen=True, kw_only=True, eq=False)
class _File:
    """
    A file of an output.

    :param output: The output.
    :param index: Its place among the outputs.
    :param part: What was asked for.
    :param field: The field that has the link.
    """

    output: Output
    index: int
    part: str
    field: str


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
        run_id: Any,
        destination: Any,
        include: Any,
        filename: Any,
        overwrite: Any,
    ) -> None:
        self._hook = hook
        self._run_id = validate_id("run_id", run_id)
        # In their order, each once.
        self._parts = dict.fromkeys(validate_parts("include", include)).keys()
        self._filename = validate_filename("filename", filename)
        self._overwrite = validate_flag("overwrite", overwrite)
        self._folder = DownloadDirectory(destination)

    def download(self, context: Mapping[str, Any]) -> list[str]:
        """
        Fetch what is asked for.

        :param context: The task's context.
        :returns: Absolute paths or URIs, in the order of the outputs.
        :raises MosaicRunFailedError: The run is still going on, or it rendered nothing.
        """
        run = with_outputs(self._hook, self._hook.get_run(self._run_id))
        push_agent_link(context, self._hook, run.agent_id, subject=f"run {run.run_id!r}")
        verdict = run_outcome(run)
        if not verdict.ended:
            raise still_running_words(run, before="its outputs are fetched")
        if not run.outputs:
            raise MosaicRunFailedError(
                f"Run {self._run_id!r} is {run.status} and has no outputs: there is nothing to fetch.",
                run_id=self._run_id,
            )
        files = self._files(run)
        names: dict[_File, str] = {}
        missing: list[tuple[_File, MosaicError]] = []
        # The renders first: what is beside them must not keep them waiting, and is named after them.
        for file in sorted(files, key=lambda file: file.field in _EXTRAS):
            try:
                names[file] = self._fetched(run, file, names)
            except _MISSING as error:
                if error.transient:
                    raise
                missing.append((file, error))
                log.warning("Output %r comes without its %s. %s", file.output.output_id, file.part, error)
        for file, gone in missing:
            # The others are fetched by now: the task may not be tried again.
            if file.field not in _EXTRAS or not names:
                raise gone
        if not names and self._parts & {"video", "image", "audio"}:
            raise MosaicRunFailedError(
                f"Run {self._run_id!r} is {run.status} with {len(run.outputs)} output(s), but gives no link to any of "
                "them: nothing was fetched.",
                to_do="The links may come later.",
                run_id=self._run_id,
            )
        log.info("Run %r: %d file(s) of %d output(s).", self._run_id, len(names), len(run.outputs))
        return [self._folder.uri_of(names[file]) for file in files if file in names]

    def _files(self, run: Run) -> list[_File]:
        """Return the files that there are links to, in the order of the outputs."""
        files: list[_File] = []
        for index, output in enumerate(run.outputs):
            fields = {part: PARTS[part] for part in self._parts}
            if "video" in fields:
                fields["video"] = output.media_field or PARTS["video"]
            links: set[str] = set()
            for part, field in fields.items():
                link = getattr(output, field)
                if link and link not in links:
                    links.add(link)
                    files.append(_File(output=output, index=index, part=part, field=field))
                elif part == "video":
                    log.warning("Output %r has no file.", output.output_id)
        return files

    def _fetched(self, run: Run, file: _File, names: Mapping[_File, str]) -> str:
        """Fetch one file unless it is there already; its name."""
        policy = self._hook.access.link_policy
        facts = read_file_info(_Links(self._hook, run, file), policy=policy)
        name = self._named(file, facts, names)
        present = self._folder.size_of(name)
        uri = redact(self._folder.uri_of(name))
        if present is not None and not self._overwrite:
            whole = facts.size
            if whole is None:
                # A host that does not tell the length beforehand tells it by sending the file.
                whole = measure(_Links(self._hook, run, file), max_bytes=present, policy=policy)
            if present == whole:
                log.info("%s is there already, with the right length.", uri)
                return name
            raise_invalid(
                "destination",
                uri,
                f"another file is there ({format_size(present)}; the output has "
                f"{'more' if whole is None else format_size(whole)}). Set overwrite=True to replace it, or choose "
                "another destination or filename.",
            )
        size = fetch(_Links(self._hook, run, file), self._folder.target(name), policy=policy)
        log.info("Fetched %s (%s).", uri, format_size(size))
        return name

    def _named(self, file: _File, facts: FileInfo, names: Mapping[_File, str]) -> str:
        """Return the name of a file, by what its host reports; the same in each attempt."""
        kind = _KINDS.get(file.field, "video")
        part = file.part
        if file.field == "premiere_prproj_url":
            suffix = ".premiere.zip"
        elif file.field == "thumbnail_url":
            suffix = suffix_for(facts.media_type, facts.names)
            suffix = suffix if kind_of_suffix(suffix) == "image" else ".jpg"
        else:
            suffix = suffix_for(facts.media_type, facts.names)
            if not suffix:
                suffix = USUAL_SUFFIX[kind]
                log.warning(
                    "The format of output %r is unknown (content type %r). It is saved with the suffix %s.",
                    file.output.output_id,
                    facts.media_type,
                    suffix,
                )
            if part == "video":
                found = kind_of_suffix(suffix)
                part = found if found in USUAL_SUFFIX else kind
        output_id = file.output.output_id or f"output-{file.index}"
        name = self._name(output_id, file.index, part, suffix)
        theirs = {each for other, each in names.items() if other.index == file.index}
        if name in theirs and "{suffix}" in self._filename and "{part}" not in self._filename:
            # A picture and its thumbnail, both JPEGs.
            name = self._name(output_id, file.index, part, f".{part}{suffix}")
        if name in names.values():
            raise_invalid(
                "filename", self._filename, f"it gives two files the name {name!r}: use {{output_id}} or {{index}}."
            )
        return name

    def _name(self, output_id: str, index: int, part: str, suffix: str) -> str:
        return format_filename(
            "filename",
            self._filename,
            output_id=_in_a_name(output_id),
            run_id=self._run_id,
            index=index,
            part=part,
            suffix=suffix,
        )


class _Links:
    """Links to one part of an output: the one that came with the run, then a fresh one each time it is asked for."""

    def __init__(self, hook: MosaicHook, run: Run, file: _File) -> None:
        self._hook = hook
        self._run_id = run.run_id
        self._output_id = file.output.output_id
        self._index = file.index
        self._field = file.field
        self._known: str | None = getattr(file.output, file.field)

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
