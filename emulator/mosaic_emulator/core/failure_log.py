"""Errors of the emulator itself on standard error, without keys, secrets and signed links."""

from __future__ import annotations

import asyncio
import re
import sys
import traceback
from collections.abc import Iterable
from typing import Any, Final

MASK: Final = "***"
#: The query of a URL, which may contain a signature.
_QUERY: Final = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\"]*")
#: Signatures of the storage host outside of a URL.
_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{64,}")
_KEY: Final = re.compile(r"\b(?:mk|whsk)_[\w-]+")


class FailureLog:
    """Writes errors of the emulator itself to standard error."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        #: Values to mask, longest first, since one may contain another.
        self.secrets = sorted(filter(None, secrets), key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return a text without secrets."""
        for each in self.secrets:
            text = text.replace(each, MASK)
        for pattern, by in ((_QUERY, rf"\1?{MASK}"), (_SIGNATURE, MASK), (_KEY, MASK)):
            text = pattern.sub(by, text)
        return text

    def write(self, what: str, error: BaseException | None) -> None:
        """Write an error with its traceback."""
        lines = traceback.format_exception(type(error), error, error.__traceback__) if error is not None else []
        sys.stderr.write(self.mask(f"{what}\n{''.join(lines)}"))
        sys.stderr.flush()

    def handle_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Write an error that no task of the event loop handled."""
        self.write(f"The emulator failed: {context.get('message', '')}", context.get("exception"))
