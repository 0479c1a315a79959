"""For `benchmarks/waits_triggerer.py`: what a triggerer of thousands needs, in `$AIRFLOW_HOME/config`."""

from __future__ import annotations

import gc

# A full collection goes through all that Airflow has loaded and stops the event loop for a third of a second; with
# thousands of triggers the triggerer's own rounds bring one on twice a minute, whatever the triggers are.
gc.set_threshold(50_000, 20, 100)
