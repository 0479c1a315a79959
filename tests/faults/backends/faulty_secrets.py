"""A secrets backend that fails on request, in every process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend

CONTROL = Path(os.environ.get("MOSAIC_FAULTS_CONTROL", "."))


class FaultySecrets(BaseSecretsBackend):
    """Returns ``mosaic_0`` for ``faulty_0`` and so on, or fails."""

    def get_conn_value(self, conn_id: str, **_: Any) -> str | None:
        """Return the connection, or raise. If it raises, Airflow reports that the connection is not defined."""
        if not conn_id.startswith("faulty_"):
            return None
        if take_failure(CONTROL / f"{conn_id}.failing"):
            raise ConnectionError("the vault is unavailable")
        return os.environ[f"AIRFLOW_CONN_{conn_id.replace('faulty_', 'mosaic_').upper()}"]


def take_failure(path: Path) -> bool:
    """Return whether this lookup must fail, and decrement the number of failures in the file."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            left = int(file.read() or 0)
            file.seek(0)
            file.truncate()
            file.write(str(max(0, left - 1)))
            return left > 0
    except FileNotFoundError:
        return False
