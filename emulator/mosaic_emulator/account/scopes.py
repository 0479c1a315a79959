"""The API key scope that each endpoint requires."""

from __future__ import annotations

from typing import Final

#: Endpoints whose scope is documented.
CONFIRMED: Final = {
    "/automations/runs": "agent_runs:read",
    "/pipeline_runs": "agent_runs:read",
    "/agent_run/{run_id}/progress": "agent_runs:read",
    "/agent_run/{run_id}/tasks": "agent_runs:read",
    "/agent_run/{run_id}/notifications": "agent_runs:read",
    "/agent_run/{run_id}/notification_configurations": "agent_runs:read",
    "/automations/ingest-batches": "triggers:read",
    "/storage_triggers": "triggers:read",
    "/storage_trigger/{trigger_id}/folders": "triggers:read",
    "/storage_trigger/{trigger_id}/events": "triggers:read",
    "/storage_batches": "triggers:read",
    "/storage_batch/{batch_id}/items": "triggers:read",
}
#: Scope entity of all other endpoints by path prefix. Assumed from the pattern of the documented scopes.
ENTITIES: Final = (
    ("/agent_run", "agent_runs"),
    ("/agent/{agent_id}/run", "agent_runs"),
    ("/trigger/{trigger_id}/runs", "agent_runs"),
    ("/agent/{agent_id}/triggers", "triggers"),
    ("/agent", "agents"),
    ("/node_type", "agents"),
    ("/uploads", "uploads"),
    ("/social", "social"),
    ("/avatar-profiles", "avatars"),
    ("/credits", "credits"),
    ("/plan", "plan"),
)
#: Endpoints that only read, although they are no GET.
READING: Final = frozenset({"/uploads/get_view_url"})


def needed_scope(method: str, template: str) -> tuple[str, bool] | None:
    """
    Return the scope of an endpoint and whether it is documented. Return None if any key is accepted.

    :param template: The path with its parameters in braces.
    """
    if template == "/whoami":
        return None
    if template in CONFIRMED:
        return CONFIRMED[template], True
    entity = next((name for beginning, name in ENTITIES if template.startswith(beginning)), "other")
    reading = method == "GET" or template in READING
    return f"{entity}:{'read' if reading else 'write'}", False
