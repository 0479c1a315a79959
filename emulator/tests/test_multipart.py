from __future__ import annotations

import random

import pytest
from mosaic_emulator.storage_host.multipart import BLOCK, FormError, FormReader, boundary_of


class Chunks:
    """A source of bytes in chunks of the given lengths, repeated."""

    def __init__(self, data: bytes, lengths: list[int]) -> None:
        self._data, self._lengths, self._turn = data, lengths, 0

    def readinto(self, view: memoryview) -> int:
        length = min(self._lengths[self._turn % len(self._lengths)], len(view), len(self._data))
        self._turn += 1
        view[:length] = self._data[:length]
        self._data = self._data[length:]
        return length


def wrapped(*values: bytes) -> bytes:
    body = b""
    for place, value in enumerate(values):
        body += b'--B\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n' % place + value + b"\r\n"
    return body + b"--B--\r\n"


def read(data: bytes, lengths: list[int]) -> list[bytes]:
    reader = FormReader(source=Chunks(data, lengths), boundary=b"B")
    found: list[bytes] = []
    while (part := reader.next_part()) is not None:
        assert part.name == f"f{len(found)}"
        chunks: list[bytes] = []
        reader.stream(lambda chunk, chunks=chunks: chunks.append(bytes(chunk)))  # type: ignore[misc]
        found.append(b"".join(chunks))
    return found


@pytest.mark.parametrize("lengths", [[1], [2, 3, 5], [7], [1 << 22]])
@pytest.mark.parametrize(
    "values",
    [[b""], [b"x"], [b"", b""], [b"\r\n", b"--B", b"\r\n--", b"\r\n-\r\n--\r\n"], [b"\r\n--C\r\n" * 50, b"\r"]],
)
def test_form_is_parsed_in_chunks_of_any_size(values: list[bytes], lengths: list[int]) -> None:
    assert read(wrapped(*values), lengths) == values


def test_file_longer_than_the_buffer() -> None:
    source = random.Random(1)
    for extra in (-3, -2, -1, 0, 1, 2):
        value = source.randbytes(2 * BLOCK + extra)
        assert read(wrapped(b"first", value, b"last"), [65536, 1, 300_001]) == [b"first", value, b"last"]


@pytest.mark.parametrize("data", [b"", b"--", b"x" + wrapped(b"y"), wrapped(b"y")[:-4], wrapped(b"y")[:10], b"--Bxx"])
def test_invalid_form_is_an_error(data: bytes) -> None:
    with pytest.raises(FormError):
        read(data, [5])


def test_boundary_of_the_header() -> None:
    assert boundary_of("multipart/form-data; boundary=abc") == b"abc"
    assert boundary_of('multipart/form-data; charset=x; boundary="a b"') == b"a b"
    for bad in ("multipart/form-data", "application/json; boundary=abc", ""):
        with pytest.raises(FormError):
            boundary_of(bad)
