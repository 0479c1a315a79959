"""What an Airflow has written down, searched for texts that must be nowhere: its files, and its database by column."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

#: How much of the surroundings of a find is shown.
AROUND = 120


@dataclass(frozen=True, kw_only=True)
class Trace:
    """
    Something that was written down.

    :param place: The file, or the table and column.
    :param content: What stands there.
    """

    place: str
    content: bytes

    def finds(self, marks: Mapping[str, str]) -> Iterator[str]:
        """
        Say what of the marks is in it, whether big or small letters.

        :param marks: The texts by what they stand for.
        """
        lowered = self.content.lower()
        for name, mark in marks.items():
            place = lowered.find(mark.lower().encode())
            if place >= 0:
                shown = self.content[max(place - AROUND, 0) : place + len(mark) + AROUND]
                yield f"{name} in {self.place}: {shown.decode(errors='replace')}"


def files(folder: Path) -> Iterator[Trace]:
    """Every file under a folder, a database's own included: what was deleted in it may still be there."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield Trace(place=str(path.relative_to(folder)), content=path.read_bytes())


def columns(database: Path, *, fernet_key: str) -> Iterator[Trace]:
    """
    Every value of every table of a SQLite database; what Airflow has encrypted is shown in clear text besides.

    :param database: The file.
    :param fernet_key: Airflow's key.
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
    """Every mark that is in any of them, with its place."""
    return [found for trace in traces for found in trace.finds(marks)]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
