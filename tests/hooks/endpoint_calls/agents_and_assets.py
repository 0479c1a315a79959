"""Account, agents, node types and assets."""

from __future__ import annotations

import httpx
from mosaic_emulator.media import SAMPLE_VIDEO

from hooks.all_endpoints import CAPTIONS, CallEnvironment, by_name

VIDEO_INPUT = "9451e6ff-ac7f-4317-9055-a2f35f641b29"
#: The client of the storage host, which is not part of the API.
STORAGE = httpx.Client(trust_env=False)


# Account, agents, node types


def whoami(env: CallEnvironment) -> None:
    owner = env.api.whoami()
    assert owner.name == ("someone@example.org" if env.settings["whoami"] == "user" else "Emulated Films")
    assert owner.created_at is not None
    assert owner.scopes == (env.settings["scopes"] and tuple(env.settings["scopes"]))


def list_agents(env: CallEnvironment) -> None:
    agents = {agent.agent_id: agent for agent in env.api.list_agents()}
    assert len(agents) == 5
    assert agents[env.mosaic.agent_id].name == "Shorts maker"


def get_agent(env: CallEnvironment) -> None:
    graph = env.api.get_agent(env.mosaic.agent_id)
    assert graph.agent.agent_id == env.mosaic.agent_id
    assert [node.node_type.node_type_name for node in graph.agent_nodes] == [
        "Video Input", "Rough Cut", "Reframe", "Captions",
    ]  # fmt: skip
    assert len(graph.connections) == (3 if env.settings["agent_response"] == "graph" else 0)
    env.ids["node"] = graph.agent_nodes[-1].agent_node_id


def get_agent_node(env: CallEnvironment) -> None:
    node = env.api.get_agent_node(env.ids["node"])
    assert (node.agent_node_id, node.node_type.node_type_id) == (env.ids["node"], CAPTIONS)


def list_node_types(env: CallEnvironment) -> None:
    assert CAPTIONS in {each.node_type_id for each in env.api.list_node_types()}


def get_node_type(env: CallEnvironment) -> None:
    assert env.api.get_node_type(CAPTIONS).node_type_name == "Captions"


def create_agent(env: CallEnvironment) -> None:
    env.ids["agent"] = env.api.create_agent(name="Made today", description="By a test").agent_id
    assert env.api.get_agent(env.ids["agent"]).agent.name == "Made today"


def update_agent(env: CallEnvironment) -> None:
    operations = [
        {"op": "create_node", "temp_ref_id": "in", "node_type_id": VIDEO_INPUT},
        {"op": "create_node", "temp_ref_id": "cap", "node_type_id": CAPTIONS},
        {"op": "create_connection", "source_temp_ref_id": "in", "target_temp_ref_id": "cap"},
    ]
    change = env.api.update_agent(env.ids["agent"], operations=operations)
    assert change.agent_id == env.ids["agent"]
    nodes = [node.agent_node_id for node in env.api.get_agent(env.ids["agent"]).agent_nodes]
    if env.settings["agent_change_response"] != "metadata":
        assert {node.temp_ref_id: node.agent_node_id for node in change.created_nodes} == dict(
            zip(("in", "cap"), nodes, strict=True)
        )


def duplicate_agent(env: CallEnvironment) -> None:
    copy = env.api.duplicate_agent(env.ids["agent"], name="A copy")
    assert copy.agent.name == "A copy"
    assert copy.agent.agent_id != env.ids["agent"]
    assert len(copy.agent_nodes) == 2


def delete_agent(env: CallEnvironment) -> None:
    env.api.delete_agent(env.ids["agent"])
    assert env.mosaic.counts().agents_deleted == 1


# Assets


def start_upload(env: CallEnvironment) -> None:
    for kind in ("video", "audio", "image"):
        form = env.api.start_upload(kind)
        assert form.max_file_size_bytes
        content = SAMPLE_VIDEO.read_bytes() if kind == "video" else b"bytes"
        stored = STORAGE.post(form.upload_url, data=form.upload_fields, files={"file": (f"a.{kind}", content)})
        assert stored.is_success
        env.ids[kind] = form.asset_id


def finalize_upload(env: CallEnvironment) -> None:
    for kind in ("video", "audio", "image"):
        assert env.api.finalize_upload(kind, env.ids[kind]) == env.ids[kind]
    assert all(upload["finalized"] for upload in env.mosaic.uploads())


def get_view_url(env: CallEnvironment) -> None:
    for kind in ("video", "audio", "image"):
        link = env.api.get_view_url(kind, env.ids[kind])
        assert (link.asset_type, link.asset_id) == (kind, env.ids[kind])
        assert link.signed_url.startswith("http")


ENDPOINT_CALLS = by_name(
    whoami,
    list_agents,
    get_agent,
    get_agent_node,
    list_node_types,
    get_node_type,
    create_agent,
    update_agent,
    duplicate_agent,
    delete_agent,
    start_upload,
    finalize_upload,
    get_view_url,
)
