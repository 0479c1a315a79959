"""
A multipart form with one file, as the bytes before and after the file. They are small, so the whole length is known.

The storage host requires the signed fields verbatim and in order, then the file, and rejects other fields
(https://docs.mosaic.so/api/asset-management/upload-flow).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MultipartFrame:
    """
    The form without its file. Its fields hold the signature, so its repr hides them.

    :param content_type: The media type of the form, with the boundary.
    :param before: The fields, and the headers of the file.
    :param after: The end of the form.
    """

    content_type: str = field(repr=False)
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)


def multipart_frame(fields: Mapping[str, str], *, file_name: str, media_type: str) -> MultipartFrame:
    """
    Encode the form around a file.

    :param fields: The fields in order.
    :param file_name: The file's name.
    :param media_type: The file's media type.
    """
    # No file contains 128 random bits.
    boundary = f"mosaic-{secrets.token_hex(16)}"
    head = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{_escaped(name)}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    parts.append(f'{head}"file"; filename="{_escaped(file_name)}"\r\nContent-Type: {media_type}\r\n\r\n')
    return MultipartFrame(
        content_type=f"multipart/form-data; boundary={boundary}",
        before="".join(parts).encode(),
        after=f"\r\n--{boundary}--\r\n".encode(),
    )


def _escaped(name: str) -> str:
    # The three escapes of browsers
    # (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data). urllib3's encoder
    # has others in version 1.26, and fails for file names with half characters.
    text = name.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
