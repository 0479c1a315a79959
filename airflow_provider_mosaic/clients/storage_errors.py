"""
Classify the errors of file systems and storages: is a file missing, can a retry help?

fsspec's storages raise the errors of their libraries. An unknown error counts as transient: a needless retry costs less
than a task that fails without its retries because a server was busy.
"""

from __future__ import annotations

import errno
from typing import NoReturn

from airflow_provider_mosaic.api.arguments import raise_invalid
from airflow_provider_mosaic.api.errors import MosaicError, MosaicTransportError
from airflow_provider_mosaic.api.redaction import one_line

#: Errors of the path itself, of what exists there, and of permissions.
_PERMANENT_CLASSES = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    NotImplementedError,
    ImportError,
    AttributeError,
    TypeError,
    # A NUL or half a character in a name; UnicodeError is a subclass.
    ValueError,
)
_PERMANENT_ERRNOS = frozenset(
    {
        errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL,
        errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP,
    }
)  # fmt: skip
_TRANSIENT_STATUSES = frozenset({408, 409, 423, 425, 429})


def is_missing(error: BaseException) -> bool:
    """
    Return whether an error means that the file does not exist, and nothing else.

    :param error: What a file system or a storage raised. Some raise their own classes, with a number or a status.
    """
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, FileNotFoundError) or number == errno.ENOENT or _status(error) == 404


def is_transient(error: BaseException) -> bool:
    """Return whether a retry can succeed after this error of a file system or a storage."""
    status = _status(error)
    if status is not None:
        return not 400 <= status < 500 or status in _TRANSIENT_STATUSES
    number = error.errno if isinstance(error, OSError) else None
    return not isinstance(error, _PERMANENT_CLASSES) and number not in _PERMANENT_ERRNOS


def raise_unreadable(name: str, shown: str, error: BaseException, *, where: str = "") -> NoReturn:
    """
    Raise our error for a file that could not be read.

    :param name: The argument.
    :param where: Where the file was searched, with a space before it.
    """
    if isinstance(error, MosaicError):
        raise error
    reason = f"{type(error).__name__}: {one_line(str(error), longest=300)}"
    if is_transient(error):
        raise MosaicTransportError(
            f"{name}={shown!r}: it could not be read ({reason}). Nothing was sent. A retry may succeed.",
            effect_unknown=False,
        ) from error
    if isinstance(error, NotADirectoryError):
        raise_invalid(name, shown, f"there is no such file{where}. A part of its path is a file, not a directory.")
    if is_missing(error):
        raise_invalid(name, shown, f"there is no such file{where}.")
    if isinstance(error, PermissionError):
        raise_invalid(name, shown, f"there is no permission to read it{where} ({reason}).")
    raise_invalid(name, shown, f"it can't be read ({reason}).")


def _status(error: BaseException) -> int | None:
    """Return the HTTP status in an error of a storage's library: Google's, Azure's, aiohttp's or AWS's."""
    if isinstance(error, OSError) and error.errno is not None:
        return None
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
    aws_status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    for value in (aws_status, *(getattr(error, name, None) for name in ("status_code", "status", "code"))):
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None
