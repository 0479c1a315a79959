"""The commands of the Makefile: environments, Airflow instances, the demo, the test matrix."""

from __future__ import annotations
