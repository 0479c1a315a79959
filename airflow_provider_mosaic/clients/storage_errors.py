"""
What an error of a file system or a storage means: is something not there, or may it pass by itself.

fsspec's storages raise what their libraries do. Few errors are certain to come again; any other may pass, for a task
that fails without its retries because of a busy server has lost more than one that tries again in vain.
"""

from __future__ import annotations

import errno

#: Errors of the path itself, of what stands there, and of rights.
_PERMANENT_KINDS = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    NotImplementedError,
    ImportError,
    AttributeError,
    TypeError,
    # A NUL, or half a character in a name; UnicodeError is one of these.
    ValueError,
)
_PERMANENT_NUMBERS = frozenset(
    {
        errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL,
        errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP,
    }
)  # fmt: skip
#: Answers of 4xx that may pass.
_PASSING_STATUSES = frozenset({408, 409, 423, 425, 429})


def is_missing(error: BaseException) -> bool:
    """
    Return whether an error means that there is no such file, and nothing else.

    :param error: What a file system or a storage raised. Some raise their own classes, with a number or a status.
    """
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, FileNotFoundError) or number == errno.ENOENT or _status(error) == 404


def may_pass(error: BaseException) -> bool:
    """
    Return whether the same may succeed later by itself.

    :param error: What a file system or a storage raised.
    """
    number = error.errno if isinstance(error, OSError) else None
    status = _status(error)
    if status is not None:
        return not 400 <= status < 500 or status in _PASSING_STATUSES
    return not isinstance(error, _PERMANENT_KINDS) and number not in _PERMANENT_NUMBERS


def _status(error: BaseException) -> int | None:
    """Return the HTTP status in an error of a storage's own library: Google's, Azure's, aiohttp's, or AWS's."""
    if isinstance(error, OSError) and error.errno is not None:
        return None
    answer = getattr(error, "response", None)
    metadata = answer.get("ResponseMetadata") if isinstance(answer, dict) else None
    found = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    for value in (found, *(getattr(error, name, None) for name in ("status_code", "status", "code"))):
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None
