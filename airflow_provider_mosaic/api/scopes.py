"""
What a restricted key needs for a call (https://docs.mosaic.so/api/api-key-scopes).

A scope is ``<entity>:read`` or ``<entity>:write``. Only some are named in the documentation; of the others the pattern
is known, or nothing but the entity. Which it is, is said.
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
#: Entities whose scopes have a documented name, by the beginning of the path; the first that fits counts.
_ENTITIES = (
    ("/agent/{agent_id}/run", "agent_runs"),
    ("/agent/{agent_id}/triggers", "triggers"),
    ("/trigger/", "agent_runs"),
    ("/agent_run", "agent_runs"),
    ("/agent", "agents"),
)
#: Entities of which it is only known that there may be scopes for them.
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
    """
    What a restricted key needs for a call, in words; empty where any key will do.

    :param method: HTTP method.
    :param path: Path template.
    """
    if path in _NAMED:
        return f"this needs {_NAMED[path]}"
    reads = method == "GET" or path == "/uploads/get_view_url"
    entity = next((name for beginning, name in _ENTITIES if path.startswith(beginning)), None)
    if entity is not None:
        scope = f"{entity}:{'read' if reads else 'write'}"
        # agents:read, agent_runs:read and triggers:read are named; what else they open, and their like, is not.
        return f"by the pattern of the documented names this needs {scope}"
    unnamed = _UNNAMED.get(path.split("/")[1])
    if unnamed is None:
        return ""
    return f"this needs {'Read' if reads else 'Write'} on {unnamed}, whose scope has no documented name"
