"""A secrets backend that is away at times, in whatever process looks a connection up."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend

CONTROL = Path(os.environ.get("MOSAIC_FAULTS_CONTROL", "."))


class FaultySecrets(BaseSecretsBackend):
    """It knows ``faulty_0`` and so on, which are the connections ``mosaic_0`` and so on, as often as it is let."""

    def get_conn_value(self, conn_id: str, **_: Any) -> str | None:
        """What the connection is, or an error of a service that is away: Airflow says then that it isn't defined."""
        if not conn_id.startswith("faulty_"):
            return None
        if one_fails(CONTROL / f"{conn_id}.away"):
            raise ConnectionError("the vault is away")
        return os.environ[f"AIRFLOW_CONN_{conn_id.replace('faulty_', 'mosaic_').upper()}"]


def one_fails(path: Path) -> bool:
    """Whether this lookup is one of those that a file says shall fail."""
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
