"""Fixed data with known ids: the organization, its social connections, the node types, and some agents."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

ORGANIZATION_ID: Final = "0a000000-0000-4000-8000-000000000001"
ORGANIZATION_NAME: Final = "Emulated Films"
ORGANIZATION_SLUG: Final = "emulated-films"
#: The primary workspace, and the default.
WORKSPACE_ID: Final = "0a000000-0000-4000-8000-0000000000aa"
SECOND_WORKSPACE_ID: Final = "0a000000-0000-4000-8000-0000000000ab"
WORKSPACES: Final = (WORKSPACE_ID, SECOND_WORKSPACE_ID)
USER_ID: Final = "0a000000-0000-4000-8000-0000000000bb"
BEGINNING: Final = datetime(2026, 6, 1, 9, 0, tzinfo=timezone.utc)


@dataclass(frozen=True)
class NodeType:
    """A node type. An unknown one has an empty name."""

    id: str
    name: str
    slug: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the node type as API responses contain it."""
        page = f"https://docs.mosaic.so/tiles/{self.slug}" if self.slug else None
        has_params = page and self.name != "Video Input"
        return {
            "node_type_id": self.id,
            "node_type_name": self.name or None,
            "docs_url": page,
            "params_docs_url": f"{page}#api-info" if has_params else None,
        }


NODE_TYPES: Final[dict[str, NodeType]] = {
    each.name: each
    for each in (
        NodeType("9451e6ff-ac7f-4317-9055-a2f35f641b29", "Video Input", "input-tiles"),
        NodeType("bcc5cb04-76b7-48e9-a344-0e8a29c19be0", "Clips", "clips"),
        NodeType("e6098dd4-4a6e-470f-981e-2618c11eee21", "Rough Cut", "rough-cut"),
        NodeType("a22d0b93-2bbf-479d-8efd-d446163982e8", "Silence Removal", "silence-removal"),
        NodeType("0e3a90e4-173f-42fc-b7ef-0df6a062e26c", "Reframe", "reframe"),
        NodeType("cdccb204-168e-4aec-aa72-480b11e74324", "Captions", "captions"),
        NodeType("dfa94b02-6a18-4922-9613-636bd202d69d", "Cinematic Captions", "cinematic-captions"),
        NodeType("19144346-8714-4a02-b19c-32c18bd1ad13", "Motion Graphics", "motion-graphics"),
        NodeType("6808af58-2d9a-4e3b-aacb-2d9c143b7729", "Watermark", "watermark"),
        NodeType("2160392b-ebe8-4f3d-b81e-fd11bdbbeb77", "AI B-Roll", "ai-broll"),
        NodeType("3b281fb9-9eb2-40f6-b05b-4b6f909a3da9", "AI Music", "ai-music"),
        NodeType("9570c960-b32b-4e4d-8871-5775d886f7cb", "AI Voiceover", "ai-voiceover"),
        NodeType("14abd0c1-402c-40b8-8ec8-defd951efe01", "Voice", "voice"),
        NodeType("425274c9-7735-4cf2-b7cb-46c6a7f0066a", "Audio Enhance", "audio-enhance"),
        NodeType("8254e1f8-dfea-42f9-90d8-aa91ec859bec", "Color Correction", "color-correction"),
        NodeType("71156aca-3e21-45b0-8960-099dba07c83a", "Mirror", "mirror"),
        NodeType("ef3f8d59-26be-4ea0-b655-9a08b10577cc", "Intro", "intro"),
        NodeType("cf517f33-3f78-4d55-88c2-a7d8478f8ef9", "Outro", "outro"),
        NodeType("b3b4c9e2-2a47-4fa9-8ce8-0c1fa1d7b6ef", "AI Avatar", "ai-avatar"),
        NodeType("d898f2b1-3151-4231-a4d4-dd4d5a020b05", "AI Content Generation", "ai-content-generation"),
        NodeType("a2eb3ec2-da7a-4f97-94d2-a9a537548522", "Video Generation", "video-generation"),
        NodeType("14687f30-5fd0-468f-8239-2784d83df95b", "Audio Generation", "audio-generation"),
        NodeType("18b998a0-2ea7-4676-a5d3-3ae6c8ac0b72", "Image Generation", "image-generation"),
    )
}
INPUT_TYPE: Final = NODE_TYPES["Video Input"].id
NODE_TYPES_BY_ID: Final = {each.id: each for each in NODE_TYPES.values()}


def node_type(node_type_id: str) -> NodeType:
    """Return the node type with this id, or a nameless one if the id is unknown."""
    return NODE_TYPES_BY_ID.get(node_type_id) or NodeType(node_type_id, "", None)


@dataclass
class AgentNode:
    """A tile of an agent. Replaced instead of changed, since runs keep a reference to it."""

    id: str
    type: NodeType
    params: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the tile as a node of the graph."""
        return {"agent_node_id": self.id, "node_type": self.type.as_json(), "params_used": self.params}

    def older_json(self) -> dict[str, Any]:
        """Return the tile as the API did in early 2026."""
        return {
            "id": self.id,
            "node_type_id": self.type.id,
            "node_type_name": self.type.name or None,
            "params_used": self.params,
        }


@dataclass
class Agent:
    """An agent: metadata, tiles and the edges between them."""

    id: str
    name: str
    description: str
    nodes: dict[str, AgentNode]
    edges: list[tuple[str, str]]
    #: Position in lists; increases with each new item.
    number: int
    created_at: datetime = BEGINNING
    updated_at: datetime = BEGINNING
    visibility: str = "private"
    workspace_id: str = WORKSPACE_ID
    #: ``time.monotonic()`` of the creation, for the setting ``list_lag``.
    created_monotonic: float = float("-inf")

    def metadata_json(self, text: Any) -> dict[str, Any]:
        """Return the metadata. ``text`` formats times."""
        return {
            "name": self.name,
            "description": self.description,
            "visibility": self.visibility,
            "created_at": text(self.created_at),
            "updated_at": text(self.updated_at),
        }

    def as_json(self, text: Any, *, form: str = "graph") -> dict[str, Any]:
        """Return the graph, or with ``form="nodes"`` only the tiles, as the API did in early 2026."""
        about = {"id": self.id, **self.metadata_json(text)}
        if form == "nodes":
            del about["visibility"]
            return {"agent": about, "nodes": [each.older_json() for each in self.nodes.values()]}
        return {
            "agent": about,
            "agent_nodes": [each.as_json() for each in self.nodes.values()],
            "connections": [
                {"source_agent_node_id": source, "target_agent_node_id": target} for source, target in self.edges
            ],
        }


DEFAULT_AGENT_ID: Final = "a0000000-0000-4000-8000-000000000001"
TWO_BRANCH_AGENT_ID: Final = "a0000000-0000-4000-8000-000000000002"
TWO_INPUT_AGENT_ID: Final = "a0000000-0000-4000-8000-000000000003"
GENERATION_AGENT_ID: Final = "a0000000-0000-4000-8000-000000000004"
CLIPS_AGENT_ID: Final = "a0000000-0000-4000-8000-000000000005"


def node_id(agent: int, place: int) -> str:
    """Return the id of a tile of a fixed agent."""
    return f"b000000{agent}-0000-4000-8000-00000000000{place}"


def _agent(number: int, name: str, description: str, tiles: list[str], edges: list[tuple[int, int]]) -> Agent:
    nodes = [AgentNode(node_id(number, place), NODE_TYPES[tile]) for place, tile in enumerate(tiles, 1)]
    return Agent(
        id=f"a0000000-0000-4000-8000-00000000000{number}",
        name=name,
        description=description,
        nodes={each.id: each for each in nodes},
        edges=[(node_id(number, source), node_id(number, target)) for source, target in edges],
        number=number,
    )


def fixed_agents() -> dict[str, Agent]:
    """Return new copies of the agents that every emulator has."""
    agents = (
        _agent(
            1,
            "Shorts maker",
            "Cuts, reframes to 9:16 and captions",
            ["Video Input", "Rough Cut", "Reframe", "Captions"],
            [(1, 2), (2, 3), (3, 4)],
        ),
        _agent(
            2,
            "Two versions",
            "One input, a portrait version and one with music",
            ["Video Input", "Reframe", "Captions", "AI Music"],
            [(1, 2), (2, 3), (1, 4)],
        ),
        _agent(
            3,
            "Duet",
            "Two inputs, joined",
            ["Video Input", "Video Input", "Rough Cut", "Captions"],
            [(1, 3), (2, 3), (3, 4)],
        ),
        _agent(
            4,
            "Generator",
            "Generates a video; takes no input",
            ["Video Generation", "Captions"],
            [(1, 2)],
        ),
        _agent(
            5,
            "Clip maker",
            "Several clips of one recording",
            ["Video Input", "Clips", "Reframe", "Captions"],
            [(1, 2), (2, 3), (3, 4)],
        ),
    )
    return {each.id: each for each in agents}


@dataclass(frozen=True)
class Connection:
    """A connected social account."""

    id: str
    platform: str
    name: str
    username: str
    profile_url: str

    def as_json(self) -> dict[str, Any]:
        """Return the connection as a destination and as a list item."""
        return {
            "social_connection_id": self.id,
            "platform": self.platform,
            "account_name": self.name,
            "account_username": self.username,
            "profile_url": self.profile_url,
        }


PLATFORMS: Final = ("x", "linkedin", "instagram", "facebook", "tiktok", "youtube")


def _connection(number: int, platform: str, username: str) -> Connection:
    return Connection(
        id=f"c0000000-0000-4000-8000-00000000000{number}",
        platform=platform,
        name=f"Emulated Films on {platform}",
        username=username,
        profile_url=f"https://{platform}.example/{username}",
    )


CONNECTIONS: Final[dict[str, Connection]] = {
    each.id: each
    for each in (
        _connection(1, "youtube", "emulatedfilms"),
        _connection(2, "tiktok", "emulatedfilms"),
        _connection(3, "instagram", "emulatedfilms"),
        _connection(4, "x", "emulatedfilms"),
        _connection(5, "linkedin", "emulatedfilms"),
        _connection(6, "facebook", "emulatedfilms"),
        _connection(7, "youtube", "emulatedfilmslive"),
    )
}
