"""The search for secrets finds existing ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

from dev.traces import columns, files, search


def test_search_finds_marks(tmp_path: Path) -> None:
    key = Fernet.generate_key()
    with closing(sqlite3.connect(tmp_path / "some.db")) as database:
        database.execute("CREATE TABLE item (plain TEXT, raw BLOB, hidden TEXT)")
        values = ('{"a": "MARKED-1"}', b"\x00marked-2", Fernet(key).encrypt(b"marked-3").decode())
        database.execute("INSERT INTO item VALUES (?, ?, ?)", values)
        database.commit()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.log").write_text("text marked-4 text")
    marks = {str(number): f"marked-{number}" for number in range(1, 6)}

    found = search(columns(tmp_path / "some.db", fernet_key=key.decode()), marks)
    assert [find.partition(":")[0] for find in found] == [
        "1 in item.plain",
        "2 in item.raw",
        "3 in item.hidden, decrypted",
    ]
    found = search(files(tmp_path / "deep"), marks)
    assert found == ["4 in a.log: text marked-4 text"]
