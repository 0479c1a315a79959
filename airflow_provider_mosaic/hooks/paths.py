"""
Resolve paths of users: local paths, URIs of object storage, and HTTP(S) URLs.

Only this module knows Airflow's object storage.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import raise_invalid, uri_scheme, validate_path, validate_url
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError
from airflow_provider_mosaic.api.options import is_definition_itself, validate_definition_suffix, validate_destination
from airflow_provider_mosaic.api.redaction import one_line, redact
from airflow_provider_mosaic.clients.destinations import Destination, destination_error, storage_destination
from airflow_provider_mosaic.clients.sources import Source, local_source, storage_source, url_source
from airflow_provider_mosaic.clients.storage_errors import is_missing, is_transient, raise_unreadable

#: Bytes. Reading a definition limits its characters, which are at most four bytes each.
_MAX_TEXT = 4 * 1024 * 1024


def get_source(location: Any, access: Access) -> Source:
    """
    Return the file to upload.

    :param location: A local path, a URI of object storage (``s3://...``, ``gs://...``, ``file://...``), an HTTP(S) URL
        that needs no credentials, or an ``ObjectStoragePath``.
    :param access: The connection. It decides where a URL may redirect to.
    """
    if _is_storage_path(location):
        return storage_source(location)
    text = validate_path("source", location)
    scheme = uri_scheme(text)
    if scheme in ("http", "https"):
        return url_source(validate_url("source", text), policy=access.link_policy)
    return storage_source(_storage_path("source", text)) if scheme else local_source(_with_home(text))


def _with_home(path: str) -> str:
    """Return a local path with ``~`` replaced by the home directory of the worker's user."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path drops a final slash


def read_text(name: str, location: Any, *, directory: str) -> str:
    """
    Return the content of a text file.

    :param location: A local path, a URI of object storage, or an ``ObjectStoragePath``.
    :param directory: The directory of a relative path. It may be inside a zip file.
    """
    path = location
    if not _is_storage_path(location):
        text = validate_path(name, location)
        scheme = uri_scheme(text)
        if scheme in ("http", "https"):
            raise_invalid(name, text, "it is not read from a URL. Give a path, or a URI such as s3://... .")
        path = _storage_path(name, text) if scheme else Path(directory, text)
    shown = str(location)
    is_local = isinstance(path, Path)
    try:
        data = _read_local(path) if is_local else _read_start(path)
    except Exception as error:  # each storage has its own exceptions
        raise_unreadable(name, redact(shown), error, where=f" in {directory}" if is_local else "")
    if len(data) > _MAX_TEXT:
        raise_invalid(name, shown, f"it has more than {_MAX_TEXT:,} bytes, which is too long for a definition.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise_invalid(name, shown, "it is not UTF-8 text.")


def read_definition(definition: Any, *, directory: str = ".") -> Any:
    """
    Return the definition of an agent: the object itself, or the content of its file.

    :param definition: An object, JSON text, or the path of a YAML or JSON file.
    """
    if is_definition_itself(definition):
        return definition
    from airflow_provider_mosaic.agents_as_code.definition_yaml import read_definition_text

    validate_definition_suffix("definition", definition)
    return read_definition_text(read_text("definition", definition, directory=directory), name=str(definition))


def _read_start(path: Any) -> bytes:
    """Return up to one byte more than allowed."""
    with path.open("rb") as file:
        return bytes(file.read(_MAX_TEXT + 1))


def _read_local(path: Path) -> bytes:
    """Return the start of a local file, which may be inside a zip file, like a DAG file."""
    try:
        return _read_start(path)
    except NotADirectoryError:
        path = Path(os.path.normpath(path))
        archive = next((parent for parent in path.parents if parent.is_file()), None)
        if archive is None:
            # ".." led out of the zip file again.
            return _read_start(path)
        import zipfile

        if not zipfile.is_zipfile(archive):
            raise
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(path.relative_to(archive).as_posix()) as file:
            return file.read(_MAX_TEXT + 1)
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "it is not in the zip file", str(path)) from None
    except OSError:
        raise
    except Exception as error:  # damaged, encrypted, or an unsupported compression
        raise ValueError(f"the zip file cannot be read: {error}") from error


class DownloadDirectory:
    """
    The directory of downloads.

    :param location: A local path, a URI of object storage, or an ``ObjectStoragePath``. A missing directory is created.
    """

    def __init__(self, location: Any) -> None:
        if _is_storage_path(location):
            self._root: Any = location
        else:
            text = validate_destination("destination", location)
            is_uri = bool(uri_scheme(text))
            # Not Path.resolve: it replaces symlinks.
            self._root = _storage_path("destination", text) if is_uri else Path(os.path.abspath(_with_home(text)))  # noqa: PTH100
        try:
            str(location).encode("utf-8")
        except UnicodeEncodeError:
            raise_invalid(
                "destination",
                str(location),
                "it is not UTF-8, so the paths cannot be stored in XCom. Choose another directory.",
            )

    def path_of(self, name: str) -> Any:
        """Return the path of a file. Its name may contain directories."""
        return self._root / name

    def target(self, name: str) -> Destination:
        """Return a file to write."""
        return storage_destination(self.path_of(name))

    def size_of(self, name: str) -> int | None:
        """Return the bytes of an existing file, or None if there is no such file."""
        path = self.path_of(name)
        try:
            size = _size_at(path)
        except Exception as error:  # each storage has its own exceptions
            if is_missing(error) or isinstance(error, NotADirectoryError):
                # If part of the path is a file, writing raises the error.
                return None
            if isinstance(error, PermissionError):
                raise_invalid("destination", str(path), f"no permission to read it ({type(error).__name__}).")
            raise destination_error(redact(str(path)), error) from error
        if size is None:
            raise_invalid("destination", str(path), "this is a directory, not a file.")
        return size

    def uri_of(self, name: str) -> str:
        """Return the absolute path or the URI of a file."""
        return str(self.path_of(name))


def _size_at(path: Any) -> int | None:
    """Return the bytes of a file, or None for a directory. fsspec's ``isdir`` is not used because it hides errors."""
    if _is_storage_path(path):
        info = path.fs.info(path.path)
        return None if info.get("type") == "directory" else int(info.get("size") or 0)
    status = path.stat()
    return None if stat.S_ISDIR(status.st_mode) else int(status.st_size)


def _is_storage_path(location: Any) -> bool:
    from airflow.sdk import ObjectStoragePath

    return isinstance(location, ObjectStoragePath)


def _storage_path(name: str, uri: str) -> Any:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach, has_fs

    scheme = uri_scheme(uri)
    try:
        if not has_fs(scheme):
            # Airflow knows only the storages of installed providers. fsspec knows others, which need no connection.
            attach(scheme, fs=_open_fsspec(name, uri, scheme))
        path = ObjectStoragePath(uri)
        path.fs  # noqa: B018 - opens the storage
    except MosaicError:
        raise
    except (ValueError, ImportError, TypeError) as error:
        raise_invalid(
            name, uri, f"there is no object storage for {scheme}:// ({error}). Install the provider that supports it."
        )
    except Exception as error:  # looking up the storage's connection may fail too
        reason = f"{type(error).__name__}: {one_line(str(error))}"
        if not is_transient(error):
            raise_invalid(name, uri, f"its storage cannot be opened ({reason}).")
        raise MosaicTransportError(
            f"{name}={redact(uri)!r}: its storage could not be opened ({reason}). Nothing was sent. The error may be "
            "temporary: retry the task.",
            effect_unknown=False,
        ) from error
    return path


def _open_fsspec(name: str, uri: str, scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError):
        raise
    except Exception as error:  # each storage has its own exceptions for missing options
        if isinstance(error, OSError) and is_transient(error):
            raise
        raise_invalid(
            name,
            uri,
            f"{scheme}:// needs more options than a URI has ({type(error).__name__}: {error}). Give a path, or a URI "
            "such as s3://... .",
        )
