"""The page of a task instance, in the tab that Airflow's UI shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_ui import AirflowUi, wait_until
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from playwright.sync_api import Frame, expect
from scenarios import Scenarios, Task

pytestmark = pytest.mark.browser

THEMES = ("light", "dark")
WIDTHS = (400, 1600)
#: The page of each scenario, with its first line.
STATES = {
    "finished": "Completed",
    "failed": "Failed",
    "partial": "Partly completed",
    "generated": "Completed",
    "upload": "Uploaded",
    "post": "Partly failed",
}


@pytest.fixture(autouse=True)
def undisturbed(mosaic: Emulator) -> Iterator[None]:
    """Remove the faults of a test."""
    yield
    mosaic.clear_faults()


def rows(frame: Frame) -> list[list[str]]:
    """Return the texts of the table's cells."""
    found: list[list[str]] = frame.eval_on_selector_all(
        "tbody tr", "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    )
    return found


def player(frame: Frame) -> dict[str, Any]:
    """Return the state of the player."""
    found: dict[str, Any] = frame.eval_on_selector(
        "video, audio", "({ readyState, currentTime, paused, error }) => ({ readyState, currentTime, paused, error })"
    )
    return found


def wait_until_plays(frame: Frame, *, beyond: float = 0.0) -> None:
    """Wait until the player has data and its time moves."""
    wait_until(
        frame,
        "(beyond) => { const player = document.querySelector('video, audio');"
        " return player && player.readyState >= 2 && player.currentTime > beyond }",
        beyond,
    )


@pytest.mark.parametrize("scenario", STATES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_each_state_is_readable(
    open_ui: Callable[..., AirflowUi],
    scenarios: Scenarios,
    screenshots: Path,
    scenario: str,
    width: int,
    theme: str,
) -> None:
    task: Task = getattr(scenarios, scenario)
    ui = open_ui(theme=theme, width=width)
    # On a small screen, Airflow's own panels leave no room for a tab.
    for where in (ui.open_task, ui.open_task_alone)[width < 1000 :]:
        frame = where(task)
        expect(frame.locator("h1")).to_contain_text(STATES[scenario])
        assert frame.evaluate("document.documentElement.dataset.theme") == theme
        assert frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        ui.screenshot(screenshots / f"{scenario}-{where.__name__}-{width}-{theme}.png")
        assert ui.serious_findings(frame) == []


def test_finished_run_plays(ui: AirflowUi, scenarios: Scenarios, screenshots: Path) -> None:
    frame = ui.open_task(scenarios.finished)
    assert [row[:2] for row in rows(frame)] == [
        [name, "Completed"] for name in ("Video Input", "Rough Cut", "Reframe", "Captions")
    ]
    output = frame.locator(".outputs figure")
    expect(output.get_by_role("link", name="Premiere project")).to_be_visible()
    # With the keyboard: Enter on the thumbnail plays, and the player has the focus.
    output.get_by_role("button", name="Play Captions").press("Enter")
    wait_until_plays(frame, beyond=0.3)
    expect(frame.locator("video")).to_be_focused()
    ui.screenshot(screenshots / "playing-video.png")
    # A refresh leaves the player alone.
    before = player(frame)["currentTime"]
    frame.get_by_role("button", name="Refresh").click()
    frame.wait_for_load_state("networkidle")
    assert player(frame)["currentTime"] >= before
    output.get_by_role("button", name="Close").click()
    expect(output.get_by_role("button", name="Play Captions")).to_be_focused()


def test_expired_link_is_renewed(ui: AirflowUi, scenarios: Scenarios, mosaic: Emulator) -> None:
    frame = ui.open_task(scenarios.finished)
    frame.wait_for_load_state("networkidle")
    # The server has links for the thumbnails, which it would use again.
    mosaic.expire_links()
    frame.get_by_role("button", name="Play Captions").click()
    wait_until_plays(frame)


def test_video_continues_where_its_link_expired(ui: AirflowUi, scenarios: Scenarios, mosaic: Emulator) -> None:
    frame = ui.open_task(scenarios.finished)
    frame.get_by_role("button", name="Play Captions").click()
    wait_until_plays(frame, beyond=0.5)
    frame.eval_on_selector("video", "(video) => video.pause()")
    position = player(frame)["currentTime"]
    mosaic.expire_links()
    # The short video is in the browser's memory. A new request of the same address meets the expired link.
    frame.eval_on_selector("video", "(video) => { video.load(); return video.play().catch(() => {}) }")
    wait_until_plays(frame, beyond=position)


def test_video_that_cannot_be_delivered_has_a_reason(ui: AirflowUi, scenarios: Scenarios, mosaic: Emulator) -> None:
    frame = ui.open_task(scenarios.finished)
    frame.wait_for_load_state("networkidle")
    mosaic.inject("server_error", path="/mosaic-emulator-media/*", times=None)
    frame.get_by_role("button", name="Play Captions").click()
    expect(frame.get_by_role("alert")).to_contain_text("cannot be played")
    ui.expect_failed_loads()


def test_failed_run_names_what_is_missing(ui: AirflowUi, scenarios: Scenarios) -> None:
    frame = ui.open_task(scenarios.failed)
    assert rows(frame)[0][:2] == ["Captions", "Failed"]
    assert "short of credits" in rows(frame)[0][2]
    expect(frame.locator(".notice")).to_contain_text("Not enough credits")
    expect(frame.locator(".legend")).to_contain_text("1 failed")
    expect(frame.get_by_role("button", name="Resume run")).to_be_visible()


def test_partial_run_shows_its_outputs_and_the_failed_tile(ui: AirflowUi, scenarios: Scenarios) -> None:
    frame = ui.open_task(scenarios.partial)
    assert rows(frame)[0] == ["AI Music", "Failed", "The music service did not respond"]
    expect(frame.locator(".outputs figure")).to_have_count(1)
    # Mosaic does not resume partial runs.
    expect(frame.get_by_role("button", name="Resume run")).to_have_count(0)


def test_image_is_enlarged_and_sound_plays(ui: AirflowUi, scenarios: Scenarios, screenshots: Path) -> None:
    frame = ui.open_task(scenarios.generated)
    frame.get_by_role("button", name="Enlarge Image Generation").click()
    wait_until(frame, "document.querySelector('.media.open .frame > img')?.naturalWidth > 0")
    frame.get_by_role("button", name="Play Audio Generation").click()
    wait_until_plays(frame, beyond=0.3)
    assert frame.locator("audio").count() == 1
    ui.screenshot(screenshots / "image-and-sound.png")
    assert ui.serious_findings(frame) == []


def test_upload_shows_a_preview_that_plays(ui: AirflowUi, scenarios: Scenarios) -> None:
    frame = ui.open_task(scenarios.upload)
    frame.get_by_role("button", name="Play").click()
    wait_until_plays(frame)


def test_post_shows_each_destination(ui: AirflowUi, scenarios: Scenarios) -> None:
    frame = ui.open_task(scenarios.post)
    found = {row[0].split()[0]: row for row in rows(frame)}
    assert next(iter(found)) == "tiktok"
    assert found["tiktok"][1:3] == ["Failed", "The account's permission has expired"]
    for platform in ("youtube", "linkedin"):
        assert found[platform][1] == "Posted"
        assert "views" in found[platform][3]
    link = frame.locator("tr", has_text="youtube").get_by_role("link")
    # The sandbox of the iframe allows no new tab: Airflow's own document opens it.
    ui.page.context.route("**/*", lambda route: route.abort() if "youtube" in route.request.url else route.continue_())
    with ui.page.context.expect_page():
        link.click()


def test_cancel_and_resume(
    ui: AirflowUi, scenarios: Scenarios, mosaic: Emulator, airflow: AirflowInstance, screenshots: Path
) -> None:
    task = scenarios.running()
    before = mosaic.counts()
    frame = ui.open_task(task)
    expect(frame.locator("h1")).to_contain_text("Running")
    ui.screenshot(screenshots / "running.png")
    elapsed = frame.locator(".elapsed").inner_text()
    expect(frame.locator(".elapsed")).not_to_have_text(elapsed)

    # Nothing is sent before the confirmation, which names the cost.
    cancel = frame.get_by_role("button", name="Cancel run")
    cancel.click()
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_contain_text("credits")
    ui.screenshot(screenshots / "cancel-dialog.png")
    assert ui.serious_findings(frame) == []
    dialog.press("Escape")
    expect(dialog).to_have_count(0)
    assert mosaic.counts().runs_cancelled == before.runs_cancelled

    cancel.click()
    dialog.get_by_role("button", name="Cancel run").click()
    expect(frame.locator("h1")).to_contain_text("Cancelled")
    expect(frame.get_by_role("status")).not_to_be_empty()
    assert mosaic.counts().runs_cancelled == before.runs_cancelled + 1

    airflow.wait_for_task(task.dag_id, task.run_id, task.task_id, "failed")
    frame.get_by_role("button", name="Refresh").click()
    frame.get_by_role("button", name="Resume run").click()
    expect(dialog).to_contain_text("charge")
    dialog.get_by_role("button", name="Resume run").click()
    expect(frame.locator("h1")).to_contain_text("Running")
    assert mosaic.counts().runs_resumed == before.runs_resumed + 1

    # The page refreshes by itself, and says when the run has ended.
    mosaic.finish_run(task.mosaic_run_id)
    expect(frame.locator("h1")).to_contain_text("Completed")
    expect(frame.get_by_role("status")).to_contain_text("Run completed")
    expect(frame.locator(".page-status")).to_contain_text("Final")


def test_hidden_tab_sends_nothing(ui: AirflowUi, scenarios: Scenarios, mosaic: Emulator) -> None:
    frame = ui.open_task(scenarios.running())
    expect(frame.locator("h1")).to_contain_text("Running")
    frame.evaluate(
        "Object.defineProperty(document, 'hidden', { get: () => window.isHidden, configurable: true });"
        "window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))"
    )
    frame.wait_for_load_state("networkidle")
    requests: list[str] = []
    ui.page.on("request", lambda request: requests.append(request.url))
    ui.page.wait_for_timeout(12_000)  # longer than the pause between two refreshes
    assert [url for url in requests if "/mosaic/api/" in url] == []
    frame.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    with ui.page.expect_request("**/mosaic/api/tasks/**"):
        pass


def test_mosaic_that_does_not_respond(ui: AirflowUi, scenarios: Scenarios, mosaic: Emulator, screenshots: Path) -> None:
    task = scenarios.running()
    frame = ui.open_task(task)
    expect(frame.locator("h1")).to_contain_text("Running")
    mosaic.inject("server_error", method="GET", path="/agent_run/*", times=None, status=503)
    expect(frame.locator(".notice")).to_contain_text("Mosaic does not respond")
    expect(frame.locator("h1")).to_contain_text("Running")
    ui.screenshot(screenshots / "unreachable.png")
    mosaic.clear_faults()
    expect(frame.locator(".notice")).to_have_count(0)
    mosaic.finish_run(task.mosaic_run_id)


def test_expired_login(ui: AirflowUi, scenarios: Scenarios, screenshots: Path) -> None:
    frame = ui.open_task(scenarios.finished)
    # The Airflow of the tests logs everybody in again.
    expired = {"status": 401, "json": {"detail": "Not authenticated"}}
    ui.page.route("**/mosaic/api/tasks/**", lambda route: route.fulfill(**expired))
    frame.get_by_role("button", name="Refresh").click()
    expect(frame.locator("h1")).to_contain_text("login has expired")
    ui.screenshot(screenshots / "expired-login.png")
    assert ui.serious_findings(frame) == []
    with ui.page.expect_navigation():
        frame.get_by_role("link", name="Log in again").click()
    ui.expect_failed_loads()


def test_theme_follows_airflow(ui: AirflowUi, scenarios: Scenarios) -> None:
    frame = ui.open_task(scenarios.finished)
    assert frame.evaluate("document.documentElement.dataset.theme") == "light"
    # What the switch in Airflow's UI does.
    ui.page.evaluate(
        "document.documentElement.classList.remove('light'); document.documentElement.classList.add('dark')"
    )
    wait_until(frame, "document.documentElement.dataset.theme === 'dark'")


def test_times_are_in_the_zone_that_the_user_chose(ui: AirflowUi, scenarios: Scenarios) -> None:
    ui.page.evaluate("localStorage.setItem('timezone', JSON.stringify('Asia/Kathmandu'))")
    frame = ui.open_task(scenarios.finished)
    started = frame.locator(".facts time").first
    assert "GMT+5:45" in str(started.get_attribute("title"))
    assert started.inner_text() != str(started.get_attribute("datetime"))[11:16]
