"""Apache Airflow provider for Mosaic (https://mosaic.so): runs of video-editing agents as tasks."""

from __future__ import annotations

__version__ = "0.1.0"
