from __future__ import annotations

from tasks.fixtures import clock, hook, mosaic, short_pauses

from .watch import held, quick_handover

__all__ = ["clock", "held", "hook", "mosaic", "quick_handover", "short_pauses"]
