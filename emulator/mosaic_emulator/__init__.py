"""
A local emulator of the Mosaic API, with settings for everything that the API's documentation leaves open.

``mosaic-emulator`` starts it from the command line. :class:`Emulator` starts it from Python.
Importing this package loads no web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosaic_emulator.core.counters import Counts
    from mosaic_emulator.process import Emulator

__version__ = "0.1.0"

__all__ = ["Counts", "Emulator"]


def __getattr__(name: str) -> Any:
    if name == "Emulator":
        from mosaic_emulator.process import Emulator

        return Emulator
    if name == "Counts":
        from mosaic_emulator.core.counters import Counts

        return Counts
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
