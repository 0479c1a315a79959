"""Where files are: on this machine, in object storage, behind a link. Airflow's object storage is known only here."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.arguments import raise_invalid, uri_scheme, validate_path, validate_url
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError
from airflow_provider_mosaic.api.options import is_definition_itself, validate_definition_suffix, validate_destination
from airflow_provider_mosaic.api.redaction import one_line, redact
from airflow_provider_mosaic.clients.destinations import (
    Destination,
    destination_error,
    local_destination,
    storage_destination,
)
from airflow_provider_mosaic.clients.sources import Source, local_source, storage_source
from airflow_provider_mosaic.clients.storage_errors import is_missing, is_transient
from airflow_provider_mosaic.clients.url_source import url_source

#: Bytes that are read of a text: more than the characters of the longest definition take.
_MOST_TEXT = 8 * 1024 * 1024


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
    text = validate_path("source", place)
    scheme = uri_scheme(text)
    if scheme in ("http", "https"):
        return url_source(validate_url("source", text), policy=access.link_policy)
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
    text = "" if storage is not None else validate_path(name, place)
    scheme = uri_scheme(text)
    if scheme in ("http", "https"):
        raise_invalid(name, text, "it is not read from a web address; give a path or s3://... .")
    path = storage or (_storage_path(name, text) if scheme else Path(beside, text))
    shown = str(storage or text)
    try:
        data = _start_of(path, local=not (storage or scheme))
    except Exception as error:  # each kind of storage raises its own
        where = "" if storage or scheme else f" in {beside}"
        if is_missing(error):
            raise_invalid(name, shown, f"there is no such file{where}.")
        if isinstance(error, NotADirectoryError):
            raise_invalid(name, shown, f"there is no such file{where}: a file stands where a folder should.")
        if not is_transient(error):
            raise_invalid(name, shown, f"it can't be read ({type(error).__name__}: {one_line(str(error))}).")
        raise MosaicTransportError(
            f"{name}={redact(shown)!r}: it could not be read ({type(error).__name__}: {one_line(str(error))}). Nothing "
            "was sent; the error may pass, so a retry tries again.",
            effect_unknown=False,
        ) from error
    if len(data) > _MOST_TEXT:
        raise_invalid(name, shown, f"it has more than {_MOST_TEXT:,} bytes, which no definition has.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise_invalid(name, shown, "it can't be read as text: it is not UTF-8.")


def definition_at(definition: Any, *, beside: str = ".") -> Any:
    """
    Return the definition of an agent: the object itself, or the content of its file.

    :param definition: An object, JSON text, or the path of a YAML or JSON file.
    :param beside: The directory of a relative path.
    :raises MosaicValidationError: The file cannot be read.
    """
    if is_definition_itself(definition):
        return definition
    from airflow_provider_mosaic.agents_as_code.definition_yaml import read_definition_text

    validate_definition_suffix("definition", definition)
    return read_definition_text(text_at("definition", definition, beside=beside), name=str(definition))


def _start_of(path: Any, *, local: bool) -> bytes:
    """Read as much of a file as is allowed, and a byte more. A local file may be in a zip, as a DAG file may."""
    try:
        with path.open("rb") as file:
            return bytes(file.read(_MOST_TEXT + 1))
    except NotADirectoryError:
        in_zip = _start_in_zip(os.path.normpath(path)) if local else None
        if in_zip is None:
            raise
        return in_zip


def _start_in_zip(path: str) -> bytes | None:
    """Read the same of a path into a zip, or out of it by ".."; None if the file in the way is no zip."""
    import zipfile
    from pathlib import Path

    archive = next((folder for folder in Path(path).parents if folder.is_file()), None)
    if archive is None:
        return _start_of(Path(path), local=False)
    if not zipfile.is_zipfile(archive):
        return None
    member = Path(path).relative_to(archive).as_posix()
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
            return file.read(_MOST_TEXT + 1)
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "it is not in the zip", path) from None
    except OSError:
        raise
    except Exception as error:  # it is damaged, encrypted, or compressed in a way that Python does not know
        raise ValueError(f"the zip can't be read: {error}") from error


class DownloadDirectory:
    """
    Where downloads go.

    :param place: A local path, a URI of object storage, or an ``ObjectStoragePath``; made where it is missing.
    :raises MosaicValidationError: It can't be a folder.
    """

    def __init__(self, place: Any) -> None:
        if _is_storage_path(place):
            self._storage: Any = place
        else:
            text = validate_destination("destination", place)
            scheme = uri_scheme(text)
            self._storage = _storage_path("destination", text) if scheme else None
            self._path = None if scheme else os.path.abspath(text)  # noqa: PTH100 - no symlink is to be resolved
        try:
            str(place).encode("utf-8")
        except UnicodeEncodeError:
            raise_invalid(
                "destination",
                str(place),
                "it is not UTF-8, and the list of paths that the task returns could not hold it. Choose another one.",
            )

    def path_of(self, name: str) -> Any:
        """
        The path of a file in the folder.

        :param name: Its name, possibly with folders in front.
        """
        from pathlib import Path

        return self._storage / name if self._storage is not None else Path(str(self._path)) / name

    def target(self, name: str) -> Destination:
        """
        A file in the folder, to be written.

        :param name: Its name.
        """
        path = self.path_of(name)
        return storage_destination(path) if self._storage is not None else local_destination(path)

    def size_of(self, name: str) -> int | None:
        """
        Bytes of the file that is there already; None when there is none.

        :param name: Its name.
        """
        path = self.path_of(name)
        try:
            size = _size_at(path)
        except Exception as error:  # each kind of storage raises its own
            if is_missing(error) or isinstance(error, NotADirectoryError):
                # What is in the way of a folder is told when the file is begun.
                return None
            if isinstance(error, PermissionError):
                raise_invalid("destination", str(path), f"it may not be looked at ({type(error).__name__}).")
            raise destination_error(redact(str(path)), error) from error
        if size is None:
            raise_invalid("destination", str(path), "a folder is where the file should go.")
        return size

    def uri_of(self, name: str) -> str:
        """
        The absolute path, or the URI, of a file in the folder.

        :param name: Its name.
        """
        return str(self.path_of(name))


def _size_at(path: Any) -> int | None:
    """Return the bytes of a file; None for a folder. fsspec's ``isdir`` takes any error for a no, so it is not used."""
    if _is_storage_path(path):
        facts = path.fs.info(path.path)
        return None if facts.get("type") == "directory" else int(facts.get("size") or 0)
    found = path.stat()
    return None if stat.S_ISDIR(found.st_mode) else int(found.st_size)


def _is_storage_path(place: Any) -> bool:
    from airflow.sdk import ObjectStoragePath

    return isinstance(place, ObjectStoragePath)


def _storage_path(name: str, uri: str) -> Any:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach, has_fs

    scheme = uri_scheme(uri)
    try:
        if not has_fs(scheme):
            # Airflow knows the storages of its installed providers; fsspec knows more, which need no connection.
            attach(scheme, fs=_opened(name, uri, scheme))
        path = ObjectStoragePath(uri)
        path.fs  # noqa: B018 - the storage is opened only now
    except MosaicError:
        raise
    except (ValueError, ImportError, TypeError) as error:
        raise_invalid(
            name, uri, f"there is no object storage for {scheme}:// ({error}). Install the provider that brings it."
        )
    except Exception as error:  # opening one may look up a connection, and make one
        words = f"{type(error).__name__}: {one_line(str(error))}"
        if not is_transient(error):
            raise_invalid(name, uri, f"its storage can't be opened ({words}).")
        raise MosaicTransportError(
            f"{name}={redact(uri)!r}: its storage could not be opened ({words}). Nothing was sent; the error may pass, "
            "so a retry tries again.",
            effect_unknown=False,
        ) from error
    return path


def _opened(name: str, uri: str, scheme: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError):
        raise
    except Exception as error:  # each kind raises its own for what it lacks
        if isinstance(error, OSError) and is_transient(error):
            raise
        raise_invalid(
            name,
            uri,
            f"a storage of {scheme}:// needs more than a URI ({type(error).__name__}: {error}). Give a path, or a URI "
            "such as s3://... .",
        )
