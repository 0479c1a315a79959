"""Node types."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.agents.tile_params import params_json
from mosaic_emulator.catalogue import NODE_TYPES, NODE_TYPES_BY_ID, NodeType
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.request_context import Context, RequestContext

router = APIRouter()


@router.get("/node_types")
async def list_node_types(context: Context) -> Response:
    """List all node types, without pages."""
    context.allow_query()
    return context.respond({"node_types": [_written(each, context) for each in NODE_TYPES.values()]})


@router.get("/node_type/{node_type_id}")
async def get_node_type(node_type_id: str, context: Context) -> Response:
    """Return one node type. The documented response has links to its parameters only."""
    found = NODE_TYPES_BY_ID.get(node_type_id)
    if found is None:
        raise ApiError(404, "Node type could not be found")
    return context.respond({"node_type": _written(found, context)})


def _written(kind: NodeType, context: RequestContext) -> dict[str, Any]:
    return {**kind.as_json(), **(params_json(kind) if context.settings.node_type_params == "listed" else {})}
