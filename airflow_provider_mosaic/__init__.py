"""Apache Airflow provider for Mosaic (https://mosaic.so): runs of video-editing agents as tasks."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"

_OLDEST_AIRFLOW = (3, 1)


def _airflow_version() -> str | None:
    """Return the version of the installed Airflow, without importing it. None where only the Task SDK is installed."""
    for distribution in ("apache-airflow-core", "apache-airflow"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _require_airflow(installed: str | None) -> None:
    if installed is not None and tuple(int(part) for part in installed.split(".")[:2]) < _OLDEST_AIRFLOW:
        raise ImportError(f"airflow-provider-mosaic needs Airflow 3.1 or newer. This environment has {installed}.")


_require_airflow(_airflow_version())
