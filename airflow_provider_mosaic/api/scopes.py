"""
Name the scope that a restricted API key needs for a call (https://docs.mosaic.so/api/api-key-scopes).

A scope is ``<entity>:read`` or ``<entity>:write``. The documentation names only some scopes. For others, the text says
that the name follows the pattern, or that only the entity is known.
"""

from __future__ import annotations

#: Calls whose scope the documentation names.
_NAMED = {
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
#: Entities with documented scope names, by prefix of the path. The first match counts.
_ENTITIES = (
    ("/agent/{agent_id}/run", "agent_runs"),
    ("/agent/{agent_id}/triggers", "triggers"),
    ("/trigger/", "agent_runs"),
    ("/agent_run", "agent_runs"),
    ("/agent", "agents"),
)
#: Entities without documented scope names, by the first segment of the path.
_UNNAMED = {
    "node_types": "node types",
    "node_type": "node types",
    "uploads": "uploads",
    "social": "social publishing",
    "avatar-profiles": "avatar profiles",
    "credits": "credits",
    "plan": "the plan",
}


def scope_words(method: str, path: str) -> str:
    """Return what a restricted key needs for a call, as part of a sentence; empty if any key may send it."""
    if path in _NAMED:
        return f"this needs {_NAMED[path]}"
    reads = method == "GET" or path == "/uploads/get_view_url"
    entity = next((name for prefix, name in _ENTITIES if path.startswith(prefix)), None)
    if entity is not None:
        scope = f"{entity}:{'read' if reads else 'write'}"
        return f"by the pattern of the documented names this needs {scope}"
    unnamed = _UNNAMED.get(path.split("/")[1])
    if unnamed is None:
        return ""
    return f"this needs {'Read' if reads else 'Write'} on {unnamed}, whose scope has no documented name"
