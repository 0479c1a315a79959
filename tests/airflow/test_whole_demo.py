"""The demo, as a user starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mosaic_emulator.local_airflow.processes import living, poll

from dev import recordings
from dev.statsd_listener import StatsdListener

pytestmark = pytest.mark.airflow

NAMES = ("interview.mp4", "keynote.mp4", "product-tour.mp4")


@pytest.fixture
def metrics() -> Iterator[StatsdListener]:
    with StatsdListener() as listener:
        yield listener


def test_two_failures_heal_and_last_night_shows_the_videos(tmp_path: Path, metrics: StatsdListener) -> None:
    before = living().keys()
    command = [sys.executable, "-m", "mosaic_emulator", "demo", "--keep", "--directory", str(tmp_path)]
    settings = {"AIRFLOW__METRICS__STATSD_ON": "True", "AIRFLOW__METRICS__STATSD_PORT": str(metrics.port)}
    printed, errors = tmp_path.with_suffix(".out"), tmp_path.with_suffix(".err")
    with printed.open("w") as out, errors.open("w") as err:
        demo = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            text=True,
            cwd=tmp_path,
            env=os.environ | settings,
        )

    def address() -> str | None:
        assert demo.poll() is None, errors.read_text()
        found = re.search(r"^Last night: (\S+) .*^All of them keep running", printed.read_text(), re.M | re.S)
        return found[1] if found else None

    try:
        _watch_last_night(poll(address, timeout=540, what="the demo prints the address of Last night"))
    finally:
        demo.communicate("\n", timeout=120)
    output = printed.read_text()

    assert demo.returncode == 0, output + errors.read_text()
    ours = {pid for pid in living().keys() - before if _mentions(pid, tmp_path)}
    assert not ours
    [folder] = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["edited", "index.html", "recordings"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name in NAMES:
        [edited] = (folder / "edited" / name).glob("*.mp4")
        assert recordings.inspect(edited).is_9_to_16
        assert str(edited) in output
        assert f"recordings/{name}" in page
        assert f"edited/{name}/{edited.name}" in page
        assert re.search(rf"{re.escape(name)} +posted", output)
    assert "the response to the start of its run is lost" in output
    assert "3 uploads, 3 started runs, " in output
    assert "queued" not in output
    # Before Airflow 3.3 a retry does not know its run.
    heals = "resumed: only Captions" in output
    assert heals == ("its tile Captions fails" in output) == ("3 started runs, 1 resumed" in output)
    received = metrics.sums("airflow.mosaic.")
    assert received["airflow.mosaic.runs.started"] == received["airflow.mosaic.posts.created"] == len(NAMES)
    assert received["airflow.mosaic.responses.lost"] == 1
    assert received["airflow.mosaic.runs.resumed"] == heals


def _watch_last_night(address: str) -> None:
    """Check that the page has a card with a video for each recording, as far as that is possible without a browser."""
    session = requests.Session()
    session.trust_env = False
    airflow, path = address.split("/plugin/")
    assert path == "mosaic_last_night"
    token = session.get(f"{airflow}/auth/token", timeout=60).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    def get(path: str) -> requests.Response:
        response = session.get(f"{airflow}/{path}", headers=headers, timeout=60)
        response.raise_for_status()
        return response

    views = get("api/v2/plugins").json()["plugins"]
    assert any(view.get("url_route") == path for plugin in views for view in plugin.get("external_views", ()))
    cards = get("mosaic/api/last-night").json()["cards"]
    assert sorted(card["map_label"] for card in cards) == list(NAMES)
    agents = get("mosaic/api/agent-names").json()["names"]
    for card in cards:
        assert card["state"] == "completed"
        assert agents[card["agent_id"]] == "Shorts maker"
        [output] = get(f"mosaic/api/{card['page_url']}").json()["run"]["outputs"]
        video = get(f"mosaic/{output['url']}")
        assert video.headers["Content-Type"] == "video/mp4"
        assert video.content[4:8] == b"ftyp"
        assert get(f"mosaic/{card['thumbnail_url']}").headers["Content-Type"] == "image/jpeg"


def _mentions(pid: int, folder: Path) -> bool:
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
