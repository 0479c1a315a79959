"""Upload assets, and download the outputs of runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.base import is_constant, template_markers
from airflow_provider_mosaic.links import MosaicAgentLink, MosaicPageLink
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.base import Location, Reference, Text

_PARTS: tuple[options.OutputPart, ...] = ("video", "image", "audio", "thumbnail", "premiere")
_FILENAME = "{output_id}{suffix}"


class MosaicUploadOperator(MosaicOperator):
    """
    Upload a video, an audio file or an image (https://docs.mosaic.so/api/asset-management/upload-flow).

    The file is streamed: a video of 5 GB takes a few MB of memory. Its size is validated before the first byte is sent.
    On Airflow 3.3 and newer, a retry does not send the bytes again if only the finalizing request failed. If that
    request still returns 5xx in the retry, the file is uploaded again as a new asset.

    The asset's id is the ``return_value``. Pass it to a run as ``video_ids`` or in ``update_params``.

    Errors: without retries, ``MosaicValidationError`` for a missing, unsupported or too large file.

    :param source: A local path, a URI of object storage (``s3://``, ``gs://``, ``file://``, ... or an
        ``ObjectStoragePath``), or an HTTP(S) URL that needs no credentials.
    :param asset_type: ``video``, ``audio`` or ``image``. Default: by the file's suffix, which must be one of the
        formats that Mosaic documents.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("source", "asset_type", "mosaic_conn_id")
    operator_extra_links = (MosaicPageLink(),)
    _may_be_empty = {"asset_type": None}
    _options = options.UPLOAD
    _row_label_arguments = ("source",)
    _failure_effect = "There is no asset to start a run with. No run was started, and nothing was published."
    _retry_effect = "uploads the file again, or only what is missing of it"

    def __init__(
        self,
        *,
        source: Location,
        asset_type: Text | None = None,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.asset_type = asset_type
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def _validate_combinations(self) -> None:
        markers = template_markers(self.dag if self.has_dag() else None)  # type: ignore[no-untyped-call]
        if is_constant((self.source, self.asset_type), markers) and isinstance(self.source, (str, os.PathLike)):
            options.validate_file_kind(os.fspath(self.source), self.asset_type)

    def execute(self, context: Context) -> str:
        """Upload the file."""
        from airflow_provider_mosaic.tasks.uploads import upload

        with self._executing(context):
            return upload(self._open_hook(), context, **self._arguments())


class MosaicDownloadOutputsOperator(MosaicOperator):
    """
    Download the outputs of a run to a directory or object storage
    (https://docs.mosaic.so/api/agent-runs/get-agent-run).

    Files are streamed, and their length is checked. A file appears under its name only when it is complete. A streaming
    playlist (HLS, DASH) is rejected, since it is not a video. Links that expire during the download are renewed. A file
    that exists with the right length is not downloaded again, so a retry continues where the last attempt stopped. With
    ``overwrite=True`` each attempt downloads all files.

    The ``return_value`` is the list of absolute paths or URIs. XCom ``mosaic_agent_url`` is the URL of the page of the
    run's agent, if the connection points to Mosaic itself.

    Errors: ``MosaicRunFailedError`` if the run is still running or has no outputs. Without retries:
    ``MosaicNotFoundError`` for a missing run, and ``MosaicValidationError`` for a wrong argument or a different file of
    the same name.

    :param run_id: The run.
    :param destination: A local path, a URI of object storage, or an ``ObjectStoragePath``. Created if it is missing.
    :param include: The parts of each output to download: ``video`` (or the image or audio of an output without a
        video), ``image``, ``audio``, ``thumbnail``, ``premiere`` (the Premiere Pro timeline). A part that an output
        does not have is left out. A thumbnail or timeline with a missing file is left out with a warning.
    :param filename: The template of file names, with ``{output_id}``, ``{suffix}`` (``.mp4``, ``.png``, ``.mp3``, ...:
        by the file's content type, ``.jpg`` for most thumbnails, ``.premiere.zip``), ``{run_id}``, ``{index}`` (from 0)
        and ``{part}``. If an image and its thumbnail get the same name, the thumbnail's ends with ``.thumbnail.jpg``.
    :param overwrite: Whether to replace files of the same name. By default a different file of that name is an error.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("run_id", "destination", "include", "filename", "mosaic_conn_id")
    operator_extra_links = (MosaicAgentLink(),)
    _may_be_empty = {"include": _PARTS, "filename": _FILENAME}
    _options = options.DOWNLOAD
    _row_label_arguments = ("destination", "run_id")
    _failure_effect = "The run and its outputs are unchanged: nothing was paid again. Complete files are kept."
    _retry_effect = "downloads only what is missing, or all files with overwrite=True"

    def __init__(
        self,
        *,
        run_id: Text,
        destination: Location,
        include: Iterable[options.OutputPart | Reference] | Text = _PARTS,
        filename: Text = _FILENAME,
        overwrite: bool = False,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.destination = destination
        self.include = include
        self.filename = filename
        self.overwrite = overwrite
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants()

    def execute(self, context: Context) -> list[str]:
        """Download the files."""
        from airflow_provider_mosaic.tasks.downloads import DownloadTask

        with self._executing(context):
            return DownloadTask(self._open_hook(), **self._arguments()).download(context)
