from __future__ import annotations

import pytest
from mosaic_emulator.account.scopes import CONFIRMED, needed_scope
from mosaic_emulator.routes import endpoints

from .conftest import Api

READ_ALL = ["agents:read", "agent_runs:read", "triggers:read"]


def real(template: str) -> str:
    """Return a path that the template fits, whose ids nobody knows."""
    return "/".join("none" if piece.startswith("{") else piece for piece in template.split("/"))


def test_the_confirmed_scopes_are_those_of_endpoints() -> None:
    assert set(CONFIRMED) <= {template for _, template in endpoints()}
    for method, template in endpoints():
        needed = needed_scope(method, template)
        assert needed is None or not needed[0].startswith("other"), template


@pytest.mark.parametrize("template", sorted(CONFIRMED))
def test_an_endpoint_whose_scope_is_known_needs_it(api: Api, template: str) -> None:
    scope = CONFIRMED[template]
    api.mosaic.configure(scopes=[each for each in READ_ALL if each != scope], unconfirmed_scopes="ignore")
    answer = api.get(real(template))
    assert answer.status_code == 403
    assert answer.json() == {"detail": f"The API key lacks the scope {scope}"}
    api.mosaic.configure(scopes=[scope])
    assert api.get(real(template)).status_code in (200, 404)


def test_a_key_that_reads_everything_changes_nothing(api: Api) -> None:
    api.mosaic.configure(scopes=READ_ALL)
    for path in ("/agents", "/agent_runs", "/node_types", f"/agent/{api.mosaic.agent_id}/triggers", "/pipeline_runs"):
        assert api.get(path).status_code == 200
    for method, template in endpoints():
        needed = needed_scope(method, template)
        if method != "GET" and needed is not None:
            assert api.http.request(method, real(template)).status_code == 403, template


def test_writing_does_not_imply_reading(api: Api) -> None:
    api.mosaic.configure(scopes=["agents:write"])
    assert api.post("/agent/create", {}).status_code == 200
    assert api.get("/agents").status_code == 403


def test_scopes_that_are_guessed_can_be_ignored(api: Api) -> None:
    api.mosaic.configure(scopes=[])
    assert api.get("/whoami").json()["scopes"] == []
    assert api.get("/credits").status_code == 403
    api.mosaic.configure(unconfirmed_scopes="ignore")
    assert api.get("/credits").status_code == 200
    assert api.get("/pipeline_runs").status_code == 403
