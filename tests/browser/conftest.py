"""Chromium, a real Airflow and the emulator, with a task in each state that the pages show."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.demo.recordings import RECORDINGS, create_all
from mosaic_emulator.local_airflow.instance import AirflowInstance

if TYPE_CHECKING:
    from airflow_ui import AirflowUi
    from playwright.sync_api import Browser
    from scenarios import Scenarios

# Only the environment of `make test-browser` contains Playwright.
collect_ignore_glob = [] if importlib.util.find_spec("playwright") else ["*.py"]

ROOT = Path(__file__).resolve().parents[2]
#: Runs take some seconds, since Airflow may treat a task that resumes within two seconds of its deferral as failed.
SPEED = 3.0
#: Names of the same browser in Linux distributions, containers and on macOS.
CHROMIUM = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return the folder of this session. It is kept if a test fails."""
    path = ROOT / ".local" / "tests" / f"browser-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    path.mkdir(parents=True)
    yield path
    if not request.session.testsfailed:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser. Without one, stop and say how to get it."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None or not Path(found).exists():
        pytest.exit(
            f"No Chromium was found ({found or 'tried ' + ', '.join(CHROMIUM[:4])}). Install it, for example with "
            "`apt install chromium` or `brew install --cask chromium`, or set CHROMIUM to the path of a Chromium or "
            "Chrome. Playwright's own download is not needed.",
            returncode=2,
        )
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Run one browser for the session."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # In a container Chromium runs as root and has neither a sandbox nor a GPU.
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def mosaic(folder: Path) -> Iterator[Emulator]:
    """Run one emulator for the session."""
    with Emulator(directory=folder / "mosaic", speed=SPEED, premiere_zip=True) as running:
        yield running


@pytest.fixture(scope="session")
def airflow(chromium: str, folder: Path, mosaic: Emulator) -> Iterator[AirflowInstance]:
    """Run an Airflow with the DAGs in dags/."""
    instance = AirflowInstance(
        folder / "airflow",
        dags=[Path(__file__).parent / "dags"],
        environment={"AIRFLOW_CONN_MOSAIC_DEFAULT": mosaic.airflow_connection()},
    )
    with instance:
        yield instance


@pytest.fixture(scope="session")
def scenarios(airflow: AirflowInstance, mosaic: Emulator, folder: Path) -> Scenarios:
    """Return task instances in all states."""
    from scenarios import Scenarios

    (recording,) = create_all(folder / "films", RECORDINGS[1:2], size=(960, 540))
    return Scenarios(airflow, mosaic, recording)


@pytest.fixture(scope="session")
def screenshots(airflow: AirflowInstance) -> Path:
    """Return the folder with the screenshots of this Airflow."""
    import airflow as installed

    path = ROOT / ".local" / "browser" / ".".join(installed.__version__.split(".")[:2])
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def open_ui(browser: Browser, airflow: AirflowInstance, mosaic: Emulator) -> Iterator[Callable[..., AirflowUi]]:
    """Return a function that opens Airflow's UI in a new window. At the end, all windows must have behaved."""
    from airflow_ui import AirflowUi

    opened: list[AirflowUi] = []

    def open_one(*, theme: str = "light", width: int = 1280) -> AirflowUi:
        opened.append(AirflowUi(browser, airflow, mosaic, theme=theme, width=width))
        return opened[-1]

    yield open_one
    for ui in opened:
        ui.close()


@pytest.fixture
def ui(open_ui: Callable[..., AirflowUi]) -> AirflowUi:
    """Return one window."""
    return open_ui()
