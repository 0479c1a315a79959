"""Who may see the pages and use their buttons: requests to Airflow's API server, by users of several roles."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from fastapi import HTTPException, Request
from mosaic_emulator import Emulator

from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.plugins.access import Viewer, check_csrf, csrf_token
from airflow_provider_mosaic.plugins.items import TaskKey
from plugins.api_server import ApiServer, path_of, task_row
from plugins.runs import ended_run, held, item

pytestmark = pytest.mark.airflow


@pytest.fixture
def paths(server: ApiServer, client: SyncClient, name: str) -> dict[str, str]:
    """Return the paths of a task that users may see, of one that viewers may not see, and of a missing one."""
    run = ended_run(client)
    seen = task_row(name, mosaic_item=item("run", run.run_id))
    hidden = task_row(name, dag_id="hidden", mosaic_item=item("run", run.run_id))
    server.seed([seen, hidden])
    return {
        "seen": path_of(seen),
        "hidden": path_of(hidden),
        "missing": path_of(task_row("missing")),
        "output": run.output_ids[0],
    }


@pytest.mark.parametrize(
    ("user", "task", "status"),
    [
        ("admin", "seen", 200),
        ("editor", "seen", 200),
        ("viewer", "seen", 200),
        (None, "seen", 401),
        ("admin", "hidden", 200),
        ("editor", "hidden", 403),
        ("viewer", "hidden", 403),
        (None, "hidden", 401),
        ("admin", "missing", 404),
        (None, "missing", 401),
    ],
)
def test_users_see_the_tasks_that_they_may_read(
    server: ApiServer, paths: dict[str, str], user: str | None, task: str, status: int, evidence: Counter[str]
) -> None:
    for path in (paths[task], f"api/{paths[task]}", f"media/{paths[task]}/{paths['output']}"):
        response = server.get(f"/mosaic/{path}", user=user)
        assert response.status == (307 if status == 200 and path.startswith("media/") else status), path
        evidence[f"requests for a page with status {response.status}"] += 1
        if status != 200:
            # The response says nothing about the run.
            assert paths["output"].encode() not in response.body
            assert "Location" not in response.headers


def test_nobody_sees_last_night_without_a_login(server: ApiServer) -> None:
    for path in ("last-night", "api/last-night"):
        assert server.get(f"/mosaic/{path}", user=None).status == 401
        assert server.get(f"/mosaic/{path}", user="viewer").status == 200
        assert server.get(f"/mosaic/{path}?dag_id=hidden", user="viewer").status == 403


@pytest.mark.parametrize("user", ["viewer", None])
@pytest.mark.parametrize("action", ["cancel", "resume"])
def test_users_who_may_not_edit_the_dag_use_no_button(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str, user: str | None, action: str
) -> None:
    row = task_row(name, state="running", mosaic_item=item("run", held(mosaic, client)))
    server.seed([row])
    page = server.get(f"/mosaic/api/{path_of(row)}", user="viewer").json
    assert (page["actions"], page["csrf_token"]) == ([], None)
    token = server.get(f"/mosaic/api/{path_of(row)}", user="admin").json["csrf_token"]
    response = server.post(f"/mosaic/api/{path_of(row)}/{action}", user=user, headers={"X-CSRF-Token": token})
    assert response.status == (401 if user is None else 403)
    assert mosaic.counts().runs_cancelled == mosaic.counts().runs_resumed == 0


@pytest.mark.parametrize(
    ("case", "headers"),
    [
        ("without a token", {"X-CSRF-Token": ""}),
        ("with a forged token", {"X-CSRF-Token": "99999999999." + "0" * 64}),
        ("with a token that is not ASCII", {"X-CSRF-Token": "\xb2.\xe4"}),
        ("from another site", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
        ("from another port", {"Origin": "http://127.0.0.1:1"}),
        ("from a sandboxed page", {"Origin": "null"}),
        ("from a subdomain", {"Sec-Fetch-Site": "same-site"}),
        ("with the token of another user", {"user": "editor"}),
        ("with the token of another task", {"task": "other"}),
    ],
)
def test_requests_of_other_sites_change_nothing(
    server: ApiServer,
    mosaic: Emulator,
    client: SyncClient,
    name: str,
    case: str,
    headers: dict[str, str],
    evidence: Counter[str],
) -> None:
    run_id = held(mosaic, client)
    row = task_row(name, state="running", mosaic_item=item("run", run_id))
    other = task_row(f"{name}_other", state="running", mosaic_item=item("run", run_id))
    server.seed([row, other])
    source = other if headers.get("task") else row
    token = server.get(f"/mosaic/api/{path_of(source)}", user=headers.get("user", "admin")).json["csrf_token"]
    sent = {"X-CSRF-Token": token, **{name: value for name, value in headers.items() if name not in ("user", "task")}}
    assert server.post(f"/mosaic/api/{path_of(row)}/cancel", headers=sent).status == 403, case
    assert mosaic.counts().runs_cancelled == 0
    evidence["forged actions refused"] += 1


def test_token_of_a_page_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = Viewer(id="1", name="admin", may_edit=True)
    key = TaskKey(dag_id="dag", run_id="run", task_id="task", map_index=-1)
    opened_at = time.time()
    token = csrf_token(viewer, key)
    request = Request({"type": "http", "headers": [(b"x-csrf-token", token.encode())]})
    check_csrf(request, viewer, key)
    monkeypatch.setattr(time, "time", lambda: opened_at + 12 * 3600 + 1)
    with pytest.raises(HTTPException, match="has expired"):
        check_csrf(request, viewer, key)


def test_a_button_works_behind_a_proxy_that_replaces_the_host(
    server: ApiServer, mosaic: Emulator, client: SyncClient, name: str
) -> None:
    row = task_row(name, state="running", mosaic_item=item("run", held(mosaic, client)))
    server.seed([row])
    token = server.get(f"/mosaic/api/{path_of(row)}").json["csrf_token"]
    sent = {"X-CSRF-Token": token, "Origin": "https://airflow.example", "Sec-Fetch-Site": "same-origin"}
    assert server.post(f"/mosaic/api/{path_of(row)}/cancel", headers=sent).status == 200
    assert mosaic.counts().runs_cancelled == 1


def test_no_response_holds_the_api_key(
    server: ApiServer, mosaic: Emulator, paths: dict[str, str], evidence: Counter[str]
) -> None:
    for path in (paths["seen"], f"api/{paths['seen']}", "last-night", "api/last-night", "static/task.js"):
        response = server.get(f"/mosaic/{path}")
        assert response.status == 200
        assert mosaic.api_key.encode() not in response.body + repr(response.headers).encode()
    page = server.get(f"/mosaic/api/{paths['seen']}")
    # Signed links are in no page.
    assert b"http://" not in page.body
    assert b"ignature" not in page.body


def test_browsers_keep_nothing_but_static_files(server: ApiServer, client: SyncClient, name: str) -> None:
    row = task_row(name, dag_id="static", mosaic_item=item("run", ended_run(client).run_id))
    server.seed([row])
    for path in (path_of(row), f"api/{path_of(row)}", f"media/{path_of(row)}/first", "last-night", "api/last-night"):
        assert server.get(f"/mosaic/{path}").headers["cache-control"] == "no-store", path
    response = server.get("/mosaic/static/style.css")
    assert response.headers["cache-control"] == "no-cache"
    again = server.request(
        "GET", "/mosaic/static/style.css", user=None, headers={"If-None-Match": response.headers["etag"]}
    )
    assert (again.status, again.headers["cache-control"]) == (304, "no-cache")


def test_pages_forbid_other_hosts_and_inline_scripts(server: ApiServer, paths: dict[str, str]) -> None:
    for path in (paths["seen"], "last-night"):
        response = server.get(f"/mosaic/{path}")
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert b"<script>" not in response.body
