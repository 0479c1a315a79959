"""Download the outputs of a run. Without ``overwrite``, a file with the right size is not downloaded again."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

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
from airflow_provider_mosaic.api.redaction import redact, redact_path, remember_ids
from airflow_provider_mosaic.api.reports import still_running_error
from airflow_provider_mosaic.clients.download import FileInfo, fetch, measure, read_file_info
from airflow_provider_mosaic.clients.progress import format_size
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.hooks.paths import DownloadDirectory
from airflow_provider_mosaic.tasks.reporting import (
    add_to_outlet_events,
    mosaic_uris,
    push_run_links,
    report_lineage,
)
from airflow_provider_mosaic.tasks.run_ends import with_outputs

log = logging.getLogger(__name__)

#: The parts of an output, with the field of each link. In an output without a video, ``video`` is its image or audio.
PARTS = {
    "video": "video_url",
    "image": "image_url",
    "audio": "audio_url",
    "thumbnail": "thumbnail_url",
    "premiere": "premiere_prproj_url",
}
#: Parts beside the output's media. The media is downloaded also if they are missing.
_EXTRAS = frozenset({"thumbnail_url", "premiere_prproj_url"})
#: Errors of a link without a file, unless they are transient.
_MISSING = (MosaicNotFoundError, MosaicPermissionError, MosaicResponseError, MosaicTransportError)
_KINDS = {"image_url": "image", "audio_url": "audio"}
_UNSAFE = re.compile(r"[^\w.\- ]")
#: Bytes of an id in a file name. File systems allow 255 for the whole name.
_MAX_NAME_PART_LENGTH = 180


@dataclass(frozen=True, kw_only=True, eq=False)
class _File:
    """One part of an output."""

    output: Output
    index: int
    part: str
    field: str

    @property
    def is_extra(self) -> bool:
        """Whether the part comes beside the output's media."""
        return self.field in _EXTRAS


class DownloadTask:
    """The task of ``MosaicDownloadOutputsOperator``, in one execution. The arguments are those of the operator."""

    def __init__(
        self, hook: MosaicHook, *, run_id: Any, destination: Any, include: Any, filename: Any, overwrite: Any
    ) -> None:
        self._hook = hook
        self._run_id = validate_id("run_id", run_id)
        self._parts = dict.fromkeys(validate_parts("include", include)).keys()
        self._filename = validate_filename("filename", filename)
        self._overwrite = validate_flag("overwrite", overwrite)
        self._directory = DownloadDirectory(destination)
        #: Bytes of the files, by their names.
        self._sizes: dict[str, int] = {}

    def download(self, context: Mapping[str, Any]) -> list[str]:
        """
        Download the requested parts.

        :returns: Absolute paths or URIs, in the order of the outputs.
        :raises MosaicRunFailedError: The run still runs, or it has no outputs, or no output has a link.
        """
        run = with_outputs(self._hook, self._hook.get_run(self._run_id))
        remember_ids(run.run_id, *run.output_ids)
        push_run_links(context, self._hook, run.run_id, run.agent_id)
        files = self._files_to_download(run)
        names = self._download_all(run, files)
        log.info("Run %r: %d file(s) of %d output(s).", self._run_id, len(names), len(run.outputs))
        paths = [self._directory.uri_of(names[file]) for file in files if file in names]
        self._report(context, paths, names)
        return paths

    def _files_to_download(self, run: Run) -> list[_File]:
        """Return the requested parts that have links, or raise if there is nothing to download."""
        if not run_outcome(run).ended:
            raise still_running_error(run, before="its outputs are downloaded")
        if not run.outputs:
            raise MosaicRunFailedError(
                f"Run {self._run_id!r} is {run.status} and has no outputs: there is nothing to download.",
                run_id=self._run_id,
            )
        files = self._files(run)
        if not files and self._parts & {"video", "image", "audio"}:
            raise MosaicRunFailedError(
                f"Run {self._run_id!r} is {run.status} with {len(run.outputs)} output(s), but none has a link. Nothing "
                "was downloaded.",
                to_do="The links may appear later.",
                run_id=self._run_id,
            )
        return files

    def _files(self, run: Run) -> list[_File]:
        """Return the parts that have links, in the order of the outputs."""
        files: list[_File] = []
        for index, output in enumerate(run.outputs):
            fields = {part: PARTS[part] for part in self._parts}
            if "video" in fields:
                fields["video"] = output.media_field or PARTS["video"]
                if not getattr(output, fields["video"]):
                    log.warning("Output %r has no media file, so none is downloaded.", output.output_id)
            # The part of each link. The media first: a link to it may also be the thumbnail.
            links: dict[str, str] = {}
            for part, field in sorted(fields.items(), key=lambda item: item[1] in _EXTRAS):
                if link := getattr(output, field):
                    links.setdefault(link, part)
            files += (
                _File(output=output, index=index, part=part, field=field)
                for part, field in fields.items()
                if part in links.values()
            )
        return files

    def _download_all(self, run: Run, files: Iterable[_File]) -> dict[_File, str]:
        """Download the files. Return their names, without those of missing extras."""
        names: dict[_File, str] = {}
        missing: list[tuple[_File, MosaicError]] = []
        # The media first: a thumbnail of the same name gets another suffix.
        for file in sorted(files, key=lambda file: file.is_extra):
            if any(file.index == other.index and not other.is_extra for other, _ in missing):
                # The task fails. The file could get the name that the missing one has in a retry.
                continue
            try:
                names[file] = self._download(run, file, names)
            except _MISSING as error:
                if error.transient:
                    raise
                missing.append((file, error))
                log.warning("Output %r has no %s to download. %s", file.output.output_id, file.part, error)
        # A missing extra fails the task only if there is no other file.
        for file, failure in missing:
            if not file.is_extra or not names:
                raise failure
        return names

    def _download(self, run: Run, file: _File, names: Mapping[_File, str]) -> str:
        """Download one file unless it exists. Return its name."""
        policy = self._hook.access.link_policy
        info = read_file_info(_Links(self._hook, run, file), policy=policy)
        name = self._name_of(file, info, names)
        existing_size = self._existing_size(name)
        uri = redact_path(self._directory.uri_of(name))
        if existing_size is not None:
            size = info.size
            if size is None:
                # A host that reports no size sends the file, whose bytes are counted.
                size = measure(_Links(self._hook, run, file), max_bytes=existing_size, policy=policy)
            if existing_size == size:
                self._sizes[name] = existing_size
                log.info("%s exists with the right size. It is not downloaded again.", uri)
                return name
            self._raise_other_file(name, existing_size, size)
        size = fetch(
            _Links(self._hook, run, file),
            self._directory.target(name),
            before_commit=lambda size: self._check_not_written(name, size),
            policy=policy,
        )
        self._sizes[name] = size
        log.info("Downloaded %s (%s).", uri, format_size(size))
        return name

    def _report(self, context: Mapping[str, Any], paths: Iterable[str], files: Iterable[_File]) -> None:
        """Report the downloaded files to Airflow."""
        uris = [redact_path(path) for path in paths]
        size = sum(self._sizes.values())
        add_to_outlet_events(context, run_id=self._run_id, files=uris, file_count=len(uris), size=size)
        output_ids = (file.output.output_id for file in files)
        report_lineage(self._hook, inputs=mosaic_uris(self._hook, "outputs", output_ids), outputs=uris)

    def _existing_size(self, name: str) -> int | None:
        """Return the bytes of a file that must not be replaced. A task that replaces files may lack the permission."""
        return None if self._overwrite else self._directory.size_of(name)

    def _check_not_written(self, name: str, size: int) -> None:
        """Raise if another task has written another file of this name during the download."""
        existing_size = self._existing_size(name)
        if existing_size is not None and existing_size != size:
            self._raise_other_file(name, existing_size, size)

    def _raise_other_file(self, name: str, existing_size: int, size: int | None) -> NoReturn:
        raise_invalid(
            "destination",
            redact(self._directory.uri_of(name)),
            f"another file exists there ({format_size(existing_size)}; the output has "
            f"{'more' if size is None else format_size(size)}). Set overwrite=True to replace it, or choose "
            "another destination or filename.",
        )

    def _name_of(self, file: _File, info: FileInfo, names: Mapping[_File, str]) -> str:
        """Return the name of a file, by the media type that its host reports. It is the same in each attempt."""
        kind = _KINDS.get(file.field, "video")
        part = file.part
        suffix = suffix_for(info.media_type, info.names)
        if file.field == "premiere_prproj_url":
            suffix = ".premiere.zip"
        elif file.field == "thumbnail_url":
            suffix = suffix if kind_of_suffix(suffix) == "image" else ".jpg"
        elif not suffix:
            suffix = USUAL_SUFFIX[kind]
            log.warning(
                "The format of output %r is unknown (content type %r). It is saved with the suffix %s.",
                file.output.output_id,
                info.media_type,
                suffix,
            )
        if part == "video":
            found = kind_of_suffix(suffix)
            part = found if found in USUAL_SUFFIX else kind
        # With the run's id, since the outputs of other runs may be in the same directory.
        output_id = file.output.output_id or f"{self._run_id}-output-{file.index}"
        name = self._name(output_id, file.index, part, suffix)
        names_of_output = {each for other, each in names.items() if other.index == file.index}
        if name in names_of_output and "{suffix}" in self._filename and "{part}" not in self._filename:
            # An image and its thumbnail, both JPEG files.
            name = self._name(output_id, file.index, part, f".{part}{suffix}")
        if name in names.values():
            raise_invalid(
                "filename",
                self._filename,
                f"it makes two files with the name {name!r}: use {{index}}.",
            )
        return name

    def _name(self, output_id: str, index: int, part: str, suffix: str) -> str:
        return format_filename(
            "filename",
            self._filename,
            output_id=_safe_name(output_id),
            run_id=self._run_id,
            index=index,
            part=part,
            suffix=suffix,
        )


class _Links:
    """Returns a link to one part of an output: first the link that was read with the run, then a fresh one."""

    def __init__(self, hook: MosaicHook, run: Run, file: _File) -> None:
        self._hook = hook
        self._run_id = run.run_id
        self._output_id = file.output.output_id
        self._index = file.index
        # Ids may be missing or repeated: the place among the outputs of the same id counts too.
        self._place = len(self._same_outputs(run.outputs[: file.index]))
        self._count = len(self._same_outputs(run.outputs))
        self._field = file.field
        self._first: str | None = getattr(file.output, file.field)

    def __call__(self) -> str:
        link, self._first = self._first, None
        return link or self._read_link()

    def _read_link(self) -> str:
        run = self._hook.retry_with_new_key(lambda: self._hook.get_run(self._run_id))
        same = self._same_outputs(run.outputs)
        named = f"output {self._output_id or self._index!r}"
        if same and len(same) != self._count:
            # Any of them may be the output. A retry reads all links again.
            raise MosaicNotFoundError(
                f"Run {self._run_id!r} has {len(same)} outputs with the id {self._output_id!r} instead of "
                f"{self._count}. It is unknown which of them is {named}.",
                transient=True,
            )
        link = getattr(same[self._place], self._field) if same else None
        if not link:
            raise MosaicNotFoundError(f"Run {self._run_id!r} has no {self._field} of {named} any more.")
        return str(link)

    def _same_outputs(self, outputs: Iterable[Output]) -> list[Output]:
        return [output for output in outputs if output.output_id == self._output_id]


def _safe_name(output_id: str) -> str:
    """Return an id of the server as part of a file name, without separators and leading dots."""
    name = _UNSAFE.sub("_", output_id).lstrip(".")
    return name.encode("utf-8", "replace")[:_MAX_NAME_PART_LENGTH].decode("utf-8", "ignore") or "_"
