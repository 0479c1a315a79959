"""Upload assets, and fetch what runs have rendered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.base import MosaicOperator
from airflow_provider_mosaic.validation import is_constant

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.templated import Location, Reference, Text

_PARTS: tuple[options.OutputPart, ...] = ("video", "image", "audio", "thumbnail", "premiere")
_FILENAME = "{output_id}{suffix}"


class MosaicUploadOperator(MosaicOperator):
    """
    Upload a video, an audio file or an image (https://docs.mosaic.so/api/asset-management/upload-flow).

    The file is streamed: a 5 GB video takes a few MB of memory. Its size is checked before the first byte. Where only
    the finalize failed, a retry does not send the bytes again (Airflow 3.3 and newer).

    The asset's id is the ``return_value``: use it in ``video_ids`` of a run, or in ``update_params``.

    :param source: A local path, a URI of object storage (``s3://``, ``gs://``, ``file://``, ... or an
        ``ObjectStoragePath``), or an HTTP(S) URL that is open to anyone who has it.
    :param asset_type: ``video``, ``audio`` or ``image``; it overrides the suffix of the file. Default: by the file's
        suffix, which must then be one of the formats that Mosaic documents.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("source", "asset_type", "mosaic_conn_id")
    _may_be_empty = {"asset_type": None}
    _options = options.UPLOAD
    _row_label_arguments = ("source",)
    _effect_words = "There is no asset to start a run with. No run was started, and nothing was published."
    _retry = "uploads the file again, or only what is missing of it"

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

    def _validate_together(self) -> None:
        if is_constant((self.source, self.asset_type)) and isinstance(self.source, (str, os.PathLike)):
            options.validate_file_kind(os.fspath(self.source), self.asset_type)

    def execute(self, context: Context) -> str:
        """
        Upload the file.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.uploads import UploadTask

        with self._validated_arguments(context):
            task = UploadTask(MosaicHook(self.mosaic_conn_id), source=self.source, asset_type=self.asset_type)
            return task.upload(context)


class MosaicDownloadOutputsOperator(MosaicOperator):
    """
    Fetch what a run has rendered into a folder or object storage.

    Files are streamed, checked for their length, and appear under their name only when they are whole. A streaming
    playlist (HLS, DASH) is no video, and is refused. Links that expire on the way are renewed. A file that is there
    with the right length is not fetched again, so that a retry goes on where the last try stopped.

    The list of absolute paths or URIs is the ``return_value``; XCom ``mosaic_agent_url`` has the address of the page of
    the run's agent, where the connection leads to Mosaic itself.

    :param run_id: The run.
    :param destination: A local path, a URI of object storage, or an ``ObjectStoragePath``; made where it is missing.
    :param include: Which parts of each output: ``video`` (where there is none, the image or audio in its place),
        ``image``, ``audio``, ``thumbnail``, ``premiere`` (the Premiere Pro timeline). A part that an output does not
        have is left out; so is a thumbnail or a timeline whose file is missing, with a warning.
    :param filename: The name of each file, with ``{output_id}``, ``{suffix}`` (``.mp4``, ``.png``, ``.mp3``, ...: by
        the content type of the file, ``.jpg`` for most thumbnails, ``.premiere.zip``), ``{run_id}``, ``{index}`` (from
        0) and ``{part}``. Where a picture and its thumbnail would have one name, the thumbnail's ends with
        ``.thumbnail.jpg``.
    :param overwrite: Whether another file of that name is replaced; otherwise it is an error.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("run_id", "destination", "include", "filename", "mosaic_conn_id")
    _may_be_empty = {"include": _PARTS, "filename": _FILENAME}
    _options = options.DOWNLOAD
    _row_label_arguments = ("destination", "run_id")
    operator_extra_links = (MosaicAgentLink(),)
    _effect_words = "The run and its outputs stay as they are: nothing was paid again. Files that are complete stay."
    _retry = "fetches only what is missing"

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
        """
        Fetch the files.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.downloads import DownloadTask

        with self._validated_arguments(context):
            task = DownloadTask(
                MosaicHook(self.mosaic_conn_id),
                run_id=self.run_id,
                destination=self.destination,
                include=self.include,
                filename=self.filename,
                overwrite=self.overwrite,
            )
            return task.download(context)
