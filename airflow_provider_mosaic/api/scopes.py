"""
The scope that a restricted API key needs (https://docs.mosaic.so/api/api-key-scopes): ``<entity>:read`` or
``<entity>:write``. The documentation names only some scopes.
"""

from __future__ import annotations

#: Entities with documented scope names, by prefix of the path. The first match counts.
_ENTITIES = (
    ("/automations/ingest-batches", "triggers"),
    ("/storage_", "triggers"),
    ("/agent/{agent_id}/triggers", "triggers"),
    ("/automations/runs", "agent_runs"),
    ("/pipeline_runs", "agent_runs"),
    ("/trigger/", "agent_runs"),
    ("/agent/{agent_id}/run", "agent_runs"),
    ("/agent_run", "agent_runs"),
    ("/agent", "agents"),
)
#: Calls whose scope the documentation names, by prefix of the path.
_NAMED = (
    "/automations/",
    "/storage_",
    "/pipeline_runs",
    "/agent_run/{run_id}/progress",
    "/agent_run/{run_id}/tasks",
    "/agent_run/{run_id}/notification",
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
    """
    Return what a restricted key needs for a call, as part of a sentence; empty if any key may send it.

    For a scope without a documented name, the text says that the name follows the pattern, or that only the entity is
    known.
    """
    reads = method == "GET" or path == "/uploads/get_view_url"
    entity = next((name for prefix, name in _ENTITIES if path.startswith(prefix)), None)
    if entity is not None:
        pattern = "" if path.startswith(_NAMED) else "by the pattern of the documented names "
        return f"{pattern}this needs {entity}:{'read' if reads else 'write'}"
    unnamed = _UNNAMED.get(path.split("/")[1])
    if unnamed is None:
        return ""
    return f"this needs {'Read' if reads else 'Write'} on {unnamed}, whose scope has no documented name"
