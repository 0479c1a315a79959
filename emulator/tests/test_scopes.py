from __future__ import annotations

import pytest
from mosaic_emulator.account.scopes import CONFIRMED, needed_scope
from mosaic_emulator.routes import endpoints

from .conftest import Api

READ_ALL = ["agents:read", "agent_runs:read", "triggers:read"]


def real(template: str) -> str:
    """Return a path of the template with unknown ids."""
    return "/".join("none" if part.startswith("{") else part for part in template.split("/"))


def test_documented_scopes_belong_to_endpoints() -> None:
    assert set(CONFIRMED) <= {template for _, template in endpoints()}
    for method, template in endpoints():
        needed = needed_scope(method, template)
        assert needed is None or not needed[0].startswith("other"), template


@pytest.mark.parametrize("template", sorted(CONFIRMED))
def test_endpoint_requires_its_scope(api: Api, template: str) -> None:
    scope = CONFIRMED[template]
    api.mosaic.configure(scopes=[each for each in READ_ALL if each != scope], unconfirmed_scopes="ignore")
    response = api.get(real(template))
    assert response.status_code == 403
    assert response.json() == {"detail": f"The API key lacks the scope {scope}"}
    api.mosaic.configure(scopes=[scope])
    assert api.get(real(template)).status_code in (200, 404)


def test_read_scopes_change_nothing(api: Api) -> None:
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


def test_unconfirmed_scopes_can_be_ignored(api: Api) -> None:
    api.mosaic.configure(scopes=[])
    assert api.get("/whoami").json()["scopes"] == []
    assert api.get("/credits").status_code == 403
    api.mosaic.configure(unconfirmed_scopes="ignore")
    assert api.get("/credits").status_code == 200
    assert api.get("/pipeline_runs").status_code == 403
