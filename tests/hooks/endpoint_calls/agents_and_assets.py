"""What is there before a run: the key, agents, their tiles, and what was uploaded."""

from __future__ import annotations

import httpx
from mosaic_emulator.media import SAMPLE_VIDEO

from hooks.all_endpoints import CAPTIONS, CallEnvironment, by_name

VIDEO_INPUT = "9451e6ff-ac7f-4317-9055-a2f35f641b29"
#: The way to the storage host, which is no part of the API.
STORAGE = httpx.Client(trust_env=False)


# Account, agents, node types


def whoami(day: CallEnvironment) -> None:
    owner = day.api.whoami()
    assert owner.name == ("someone@example.org" if day.settings["whoami"] == "user" else "Emulated Films")
    assert owner.created_at is not None
    assert owner.scopes == (day.settings["scopes"] and tuple(day.settings["scopes"]))


def list_agents(day: CallEnvironment) -> None:
    agents = {agent.agent_id: agent for agent in day.api.list_agents()}
    assert len(agents) == 5
    assert agents[day.mosaic.agent_id].name == "Shorts maker"


def get_agent(day: CallEnvironment) -> None:
    graph = day.api.get_agent(day.mosaic.agent_id)
    assert graph.agent.agent_id == day.mosaic.agent_id
    assert [node.node_type.node_type_name for node in graph.agent_nodes] == [
        "Video Input", "Rough Cut", "Reframe", "Captions",
    ]  # fmt: skip
    assert len(graph.connections) == (3 if day.settings["agent_answer"] == "graph" else 0)
    day.ids["node"] = graph.agent_nodes[-1].agent_node_id


def get_agent_node(day: CallEnvironment) -> None:
    node = day.api.get_agent_node(day.ids["node"])
    assert (node.agent_node_id, node.node_type.node_type_id) == (day.ids["node"], CAPTIONS)


def list_node_types(day: CallEnvironment) -> None:
    assert CAPTIONS in {each.node_type_id for each in day.api.list_node_types()}


def get_node_type(day: CallEnvironment) -> None:
    assert day.api.get_node_type(CAPTIONS).node_type_name == "Captions"


def create_agent(day: CallEnvironment) -> None:
    day.ids["agent"] = day.api.create_agent(name="Made today", description="By a test").agent_id
    assert day.api.get_agent(day.ids["agent"]).agent.name == "Made today"


def update_agent(day: CallEnvironment) -> None:
    operations = [
        {"op": "create_node", "temp_ref_id": "in", "node_type_id": VIDEO_INPUT},
        {"op": "create_node", "temp_ref_id": "cap", "node_type_id": CAPTIONS},
        {"op": "create_connection", "source_temp_ref_id": "in", "target_temp_ref_id": "cap"},
    ]
    change = day.api.update_agent(day.ids["agent"], operations=operations)
    assert change.agent_id == day.ids["agent"]
    nodes = [node.agent_node_id for node in day.api.get_agent(day.ids["agent"]).agent_nodes]
    if day.settings["agent_change_answer"] != "metadata":
        assert {node.temp_ref_id: node.agent_node_id for node in change.created_nodes} == dict(
            zip(("in", "cap"), nodes, strict=True)
        )


def duplicate_agent(day: CallEnvironment) -> None:
    copy = day.api.duplicate_agent(day.ids["agent"], name="A copy")
    assert copy.agent.name == "A copy"
    assert copy.agent.agent_id != day.ids["agent"]
    assert len(copy.agent_nodes) == 2


def delete_agent(day: CallEnvironment) -> None:
    day.api.delete_agent(day.ids["agent"])
    assert day.mosaic.counts().agents_deleted == 1


# Assets


def start_upload(day: CallEnvironment) -> None:
    for kind in ("video", "audio", "image"):
        form = day.api.start_upload(kind)
        assert form.max_file_size_bytes
        content = SAMPLE_VIDEO.read_bytes() if kind == "video" else b"bytes"
        stored = STORAGE.post(form.upload_url, data=form.upload_fields, files={"file": (f"a.{kind}", content)})
        assert stored.is_success
        day.ids[kind] = form.asset_id


def finalize_upload(day: CallEnvironment) -> None:
    for kind in ("video", "audio", "image"):
        assert day.api.finalize_upload(kind, day.ids[kind]) == day.ids[kind]
    assert all(upload["finalized"] for upload in day.mosaic.uploads())


def get_view_url(day: CallEnvironment) -> None:
    for kind in ("video", "audio", "image"):
        link = day.api.get_view_url(kind, day.ids[kind])
        assert (link.asset_type, link.asset_id) == (kind, day.ids[kind])
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
