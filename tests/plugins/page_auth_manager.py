"""Airflow's simple auth manager, in which viewers may not read DAGs whose id starts with ``hidden``."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class PerDagAuthManager(SimpleAuthManager):
    """Grants access by DAG, as other auth managers do."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **what: Any) -> bool:
        """Return whether the user may access a DAG."""
        dag_id = getattr(details, "id", None) or ""
        if user.get_name() != "admin" and dag_id.startswith("hidden"):
            return False
        return super().is_authorized_dag(user=user, details=details, **what)
