"""The catalogue of tiles."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from mosaic_emulator.agents.tile_params import listed
from mosaic_emulator.catalogue import NODE_TYPES, NODE_TYPES_BY_ID, NodeType
from mosaic_emulator.core.responses import ApiError
from mosaic_emulator.routes.request_context import Asked, RequestContext

router = APIRouter()


@router.get("/node_types")
async def list_node_types(exchange: Asked) -> Response:
    """List every node type, unpaged."""
    exchange.known_query()
    return exchange.answer({"node_types": [_written(each, exchange) for each in NODE_TYPES.values()]})


@router.get("/node_type/{node_type_id}")
async def get_node_type(node_type_id: str, exchange: Asked) -> Response:
    """Tell one node type; the documented answer has no parameters, only links."""
    found = NODE_TYPES_BY_ID.get(node_type_id)
    if found is None:
        raise ApiError(404, "Node type could not be found")
    return exchange.answer({"node_type": _written(found, exchange)})


def _written(kind: NodeType, exchange: RequestContext) -> dict[str, Any]:
    return {**kind.as_json(), **(listed(kind) if exchange.settings.node_type_params == "listed" else {})}
