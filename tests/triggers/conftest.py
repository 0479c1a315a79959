from __future__ import annotations

from tasks.fixtures import clock, hook, mosaic, short_pauses

from .any_run_server import server
from .watch import held, quick_handover

__all__ = ["clock", "held", "hook", "mosaic", "quick_handover", "server", "short_pauses"]
