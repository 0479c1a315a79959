"""The commands behind the Makefile: environments, a real Airflow, the demo, the matrix."""

from __future__ import annotations
