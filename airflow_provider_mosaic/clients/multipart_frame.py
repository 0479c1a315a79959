"""
A form with one file in it, as its bytes: all that surrounds the file is small, so the whole length is known beforehand.

The storage host takes every field verbatim and in order and the file last; it refuses fields that its policy does not
name, so there are no others (https://docs.mosaic.so/api/asset-management/upload-flow).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MultipartFrame:
    """
    What surrounds the file in a form. It holds the form's signature, so it is not shown.

    :param boundary: The text between the parts.
    :param before: The fields, and the head of the file's part.
    :param after: The end of the form.
    """

    boundary: str = field(repr=False)
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """The form's own media type."""
        return f"multipart/form-data; boundary={self.boundary}"

    def length(self, size: int) -> int:
        """
        Bytes of the whole form.

        :param size: Bytes of the file.
        """
        return len(self.before) + size + len(self.after)


def multipart_frame(fields: Mapping[str, str], *, file_name: str, media_type: str) -> MultipartFrame:
    """
    Write what surrounds the file.

    :param fields: The form's fields, in order.
    :param file_name: The file's name.
    :param media_type: The file's media type.
    """
    # 128 random bits: no file holds them.
    boundary = f"mosaic-{secrets.token_hex(16)}"
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    lines.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(file_name)}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return MultipartFrame(
        boundary=boundary, before="".join(lines).encode("utf-8"), after=f"\r\n--{boundary}--\r\n".encode("ascii")
    )


def _quoted(name: str) -> str:
    # As browsers write names: these three and nothing else
    # (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data).
    # A name on disk that is no UTF-8 has half characters in it, which can't be sent.
    text = name.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
