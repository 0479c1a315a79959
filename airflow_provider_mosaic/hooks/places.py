"""Where files are: on this machine, in object storage, behind a link. Airflow's object storage is known only here."""

from __future__ import annotations

import os
from typing import Any

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import checked_url, not_text, refuse
from airflow_provider_mosaic.clients.sources import Source, local_source, storage_source, url_source
from airflow_provider_mosaic.clients.targets import Target, local_target, storage_target


def source_at(place: Any, access: Access) -> Source:
    """
    The file to upload.

    :param place: A local path, a URI of object storage (``s3://...``, ``gs://...``, ``file://...``), an HTTP(S) URL
        that is open to anyone who has it, or an ``ObjectStoragePath``.
    :param access: The connection, which says where a URL may redirect to.
    :raises MosaicValidationError: There is nothing that can be uploaded.
    """
    if _is_storage_path(place):
        return storage_source(place)
    text = _text("source", place)
    scheme = _scheme(text)
    if scheme in ("http", "https"):
        return url_source(checked_url("source", text), policy=access.link_policy)
    return storage_source(_storage_path("source", text)) if scheme else local_source(text)


def text_at(name: str, place: Any, *, beside: str) -> str:
    """
    What a text file holds.

    :param name: The argument that names it.
    :param place: A local path, a URI of object storage, or an ``ObjectStoragePath``.
    :param beside: The folder that a relative path begins at.
    :raises MosaicValidationError: There is no such file, or it is no text.
    """
    from pathlib import Path

    storage = place if _is_storage_path(place) else None
    text = "" if storage is not None else _text(name, place)
    scheme = _scheme(text)
    if scheme in ("http", "https"):
        refuse(name, text, "it is not read from a web address; give a path or s3://... .")
    try:
        path = storage or (_storage_path(name, text) if scheme else Path(beside, text))
        return str(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        where = "there is no such file" if storage or scheme else f"there is no such file in {beside}"
        refuse(name, str(storage or text), f"{where}.")
    except (IsADirectoryError, PermissionError, ValueError) as error:
        # ValueError: it is not UTF-8, or its name has NUL in it.
        refuse(name, str(storage or text), f"it can't be read as text ({type(error).__name__}).")


class Folder:
    """
    Where downloads go.

    :param place: A local path, a URI of object storage, or an ``ObjectStoragePath``; made where it is missing.
    :raises MosaicValidationError: It can't be a folder.
    """

    def __init__(self, place: Any) -> None:
        if _is_storage_path(place):
            self._storage: Any = place
        else:
            text = _text("destination", place)
            scheme = _scheme(text)
            if scheme in ("http", "https"):
                refuse("destination", text, "files can't be written to a web address; give a path or s3://... .")
            self._storage = _storage_path("destination", text) if scheme else None
            self._path = None if scheme else os.path.abspath(text)  # noqa: PTH100 - no symlink is to be resolved

    def path_of(self, name: str) -> Any:
        """
        The path of a file in the folder.

        :param name: Its name, possibly with folders in front.
        """
        from pathlib import Path

        return self._storage / name if self._storage is not None else Path(str(self._path)) / name

    def target(self, name: str) -> Target:
        """
        A file in the folder, to be written.

        :param name: Its name.
        """
        path = self.path_of(name)
        return storage_target(path) if self._storage is not None else local_target(path)

    def size_of(self, name: str) -> int | None:
        """
        Bytes of the file that is there already; None when there is none.

        :param name: Its name.
        """
        path = self.path_of(name)
        try:
            if path.is_dir():
                refuse("destination", str(path), "a folder is where the file should go.")
            return int(path.stat().st_size)
        except (FileNotFoundError, NotADirectoryError):
            # What is in the way of a folder is told when the file is begun.
            return None
        except PermissionError as error:
            refuse("destination", str(path), f"it may not be looked at ({type(error).__name__}).")

    def uri_of(self, name: str) -> str:
        """
        The absolute path, or the URI, of a file in the folder.

        :param name: Its name.
        """
        return str(self.path_of(name))


def _scheme(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    return scheme.lower() if separator and scheme.replace("+", "").isalnum() else ""


def _text(name: str, place: Any) -> str:
    if not isinstance(place, (str, os.PathLike)):
        refuse(name, place, f"it must be a path or a URI as text, {not_text(place)}")
    text = os.fspath(place)
    if not isinstance(text, str) or not text.strip() or text.strip().lower() == "none":
        refuse(name, place, "it is empty. If it is templated, the task that should give it gave nothing.")
    if "://" in text and "::" in text and _scheme(text) not in ("http", "https"):
        # Airflow's storage would read the first of a chain's parts alone.
        refuse(name, text, "storages can't be chained with '::'. Unpack the file, and give its own path or URI.")
    return text


def _is_storage_path(place: Any) -> bool:
    from airflow.sdk import ObjectStoragePath

    return isinstance(place, ObjectStoragePath)


def _storage_path(name: str, uri: str) -> Any:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach, has_fs

    scheme = _scheme(uri)
    try:
        if not has_fs(scheme):
            # Airflow knows the storages of its installed providers; fsspec knows more, which need no connection.
            attach(scheme, fs=_opened(name, uri, scheme))
        path = ObjectStoragePath(uri)
        path.fs  # noqa: B018 - the storage is opened only now
    except (ValueError, ImportError, TypeError) as error:
        refuse(name, uri, f"there is no object storage for {scheme}:// ({error}). Install the provider that brings it.")
    return path


def _opened(name: str, uri: str, scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError):
        raise
    except Exception as error:  # each kind raises its own for what it lacks
        refuse(
            name,
            uri,
            f"a storage of {scheme}:// needs more than a URI ({type(error).__name__}: {error}). Give a path, or a URI "
            "such as s3://... .",
        )
