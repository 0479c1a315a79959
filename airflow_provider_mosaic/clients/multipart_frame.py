"""
A multipart form with one file, as the bytes before and after the file. They are small, so the whole length is known.

The storage host requires the signed fields verbatim and in order, then the file, and rejects other fields
(https://docs.mosaic.so/api/asset-management/upload-flow).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping


class MultipartFrame:
    """The form without its file."""

    def __init__(self, fields: Mapping[str, str], *, file_name: str, media_type: str) -> None:
        # No file contains 128 random bits.
        boundary = f"mosaic-{secrets.token_hex(16)}"
        head = f"--{boundary}\r\nContent-Disposition: form-data; name="
        parts = [f'{head}"{_escaped(name)}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
        parts.append(f'{head}"file"; filename="{_escaped(file_name)}"\r\nContent-Type: {media_type}\r\n\r\n')
        #: The media type of the form, with the boundary.
        self.content_type = f"multipart/form-data; boundary={boundary}"
        #: The fields, and the headers of the file.
        self.before = "".join(parts).encode()
        #: The end of the form.
        self.after = f"\r\n--{boundary}--\r\n".encode()


def _escaped(name: str) -> str:
    # The three escapes of browsers
    # (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data). urllib3's encoder
    # has others in version 1.26, and fails for file names with half characters.
    text = name.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
