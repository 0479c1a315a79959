"""Upload assets, and fetch what runs have rendered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.given import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath


class MosaicUploadOperator(MosaicOperator):
    """
    Upload a video, an audio file or an image (https://docs.mosaic.so/api/asset-management/upload-flow).

    The file is streamed: a 5 GB video takes a few MB of memory. Its size is checked before the first byte. Where only
    the finalize failed, a retry does not send the bytes again (Airflow 3.3 and newer).

    The asset's id is the ``return_value``: use it in ``video_ids`` of a run, or in ``update_params``.

    :param source: A local path, a URI of object storage (``s3://``, ``gs://``, ``file://``, ... or an
        ``ObjectStoragePath``), or an HTTP(S) URL that is open to anyone who has it.
    :param asset_type: ``video``, ``audio`` or ``image``. Default: by the file's suffix.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("source", "asset_type", "mosaic_conn_id")
    _means = "There is no asset to start a run with. No run was started, and nothing was published."
    _retry = "uploads the file again, or only what is missing of it"

    def __init__(
        self,
        *,
        source: str | ObjectStoragePath,
        asset_type: str | None = None,
        mosaic_conn_id: str = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.asset_type = asset_type
        self.mosaic_conn_id = mosaic_conn_id

    def execute(self, context: Context) -> str:
        """
        Upload the file.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.uploads import UploadTask

        with self._taking_arguments(context):
            task = UploadTask(MosaicHook(self.mosaic_conn_id), source=self.source, asset_type=self.asset_type)
            return task.upload(context)


class MosaicDownloadOutputsOperator(MosaicOperator):
    """
    Fetch what a run has rendered into a folder or object storage.

    Files are streamed, checked for their length, and appear under their name only when they are whole. Links that
    expire on the way are renewed. A file that is there with the right length is not fetched again, so that a retry
    goes on where the last try stopped.

    The list of absolute paths or URIs is the ``return_value``; XCom ``mosaic_agent_url`` has the address of the page of
    the run's agent, where the connection leads to Mosaic itself.

    :param run_id: The run.
    :param destination: A local path, a URI of object storage, or an ``ObjectStoragePath``; made where it is missing.
    :param include: Which parts of each output: ``video``, ``thumbnail``, ``premiere`` (the Premiere Pro timeline). A
        part that an output does not have is left out.
    :param filename: The name of each file, with ``{output_id}``, ``{suffix}`` (``.mp4``, ``.jpg``, ``.premiere.zip``),
        ``{run_id}``, ``{index}`` (from 0) and ``{part}``.
    :param overwrite: Whether another file of that name is replaced; otherwise it is an error.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("run_id", "destination", "include", "filename", "mosaic_conn_id")
    operator_extra_links = (MosaicAgentLink(),)
    _means = "The run and its outputs stay as they are: nothing was paid again. Files that are complete stay."
    _retry = "fetches only what is missing"

    def __init__(
        self,
        *,
        run_id: str,
        destination: str | ObjectStoragePath,
        include: Iterable[str] = ("video", "thumbnail", "premiere"),
        filename: str = "{output_id}{suffix}",
        overwrite: bool = False,
        mosaic_conn_id: str = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.destination = destination
        self.include = include
        self.filename = filename
        self.overwrite = overwrite
        self.mosaic_conn_id = mosaic_conn_id

    def execute(self, context: Context) -> list[str]:
        """
        Fetch the files.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.tasks.downloads import DownloadTask

        with self._taking_arguments(context):
            task = DownloadTask(
                MosaicHook(self.mosaic_conn_id),
                run_id=self.run_id,
                destination=self.destination,
                include=self.include,
                filename=self.filename,
                overwrite=self.overwrite,
            )
            return task.download(context)
