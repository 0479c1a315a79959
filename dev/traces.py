"""Search the files and the database of an Airflow for secrets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

#: Number of characters to show around a match.
CONTEXT_LENGTH = 120


@dataclass(frozen=True, kw_only=True)
class Trace:
    """
    The content of a file or a database column.

    :param place: The file, or the table and column.
    """

    place: str
    content: bytes

    def finds(self, marks: Mapping[str, str]) -> Iterator[str]:
        """
        Yield the marks that the content contains, ignoring case.

        :param marks: Texts to search by their description.
        """
        lowered = self.content.lower()
        for name, mark in marks.items():
            place = lowered.find(mark.lower().encode())
            if place >= 0:
                shown = self.content[max(place - CONTEXT_LENGTH, 0) : place + len(mark) + CONTEXT_LENGTH]
                yield f"{name} in {self.place}: {shown.decode(errors='replace')}"


def files(folder: Path) -> Iterator[Trace]:
    """Yield all files in a folder. Database files may contain deleted values."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield Trace(place=str(path.relative_to(folder)), content=path.read_bytes())


def columns(database: Path, *, fernet_key: str) -> Iterator[Trace]:
    """
    Yield all values of a SQLite database. Values that Airflow has encrypted are also yielded decrypted.
    """
    fernet = Fernet(fernet_key.encode())
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            names = [description[0] for description in cursor.description]
            for row in cursor:
                for name, value in zip(names, row, strict=True):
                    content = _bytes(value)
                    yield Trace(place=f"{table}.{name}", content=content)
                    try:
                        clear = fernet.decrypt(content)
                    except InvalidToken:
                        continue
                    yield Trace(place=f"{table}.{name}, decrypted", content=clear)


def search(traces: Iterable[Trace], marks: Mapping[str, str]) -> list[str]:
    """Return all matches."""
    return [found for trace in traces for found in trace.finds(marks)]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
