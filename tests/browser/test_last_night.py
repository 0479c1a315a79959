"""The page "Last night", in Airflow's navigation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow_ui import AirflowUi, wait_until
from mosaic_emulator import Emulator
from playwright.sync_api import expect
from scenarios import Scenarios

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def night(scenarios: Scenarios) -> str:
    """Return the id of a DAG with 300 finished runs, beside runs that failed."""
    night = scenarios.many(300)
    # The newest runs, with pictures.
    assert scenarios.failed
    assert scenarios.partial
    assert scenarios.post
    assert scenarios.generated
    return night


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_night_is_readable(
    open_ui: Callable[..., AirflowUi], night: str, screenshots: Path, width: int, theme: str
) -> None:
    ui = open_ui(theme=theme, width=width)
    frame = ui.open_last_night()
    expect(frame.locator(".card")).to_have_count(50)
    assert frame.evaluate("document.documentElement.dataset.theme") == theme
    assert frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ui.screenshot(screenshots / f"last-night-{width}-{theme}.png")
    assert ui.serious_findings(frame) == []
    ui.page.goto(frame.url)
    expect(ui.page.locator(".card")).to_have_count(50)
    assert ui.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ui.screenshot(screenshots / f"last-night-alone-{width}-{theme}.png")
    assert ui.serious_findings(ui.page.main_frame) == []


def test_pages_and_filters(ui: AirflowUi, night: str, screenshots: Path) -> None:
    frame = ui.open_last_night()
    expect(frame.get_by_role("button", name="Newer")).to_be_disabled()
    frame.get_by_role("button", name="Older").click()
    expect(frame.locator("#position")).to_contain_text("Page 2")

    frame.get_by_label("DAG").select_option(night)
    expect(frame.locator("#total")).to_contain_text("300 runs")
    expect(frame.locator("#states")).to_have_text("300 completed")
    expect(frame.locator("#position")).to_have_text("Page 1 of 6")
    for page in range(2, 7):
        frame.get_by_role("button", name="Older").click()
        expect(frame.locator("#position")).to_have_text(f"Page {page} of 6")
    expect(frame.get_by_role("button", name="Older")).to_be_disabled()

    frame.get_by_label("DAG").select_option("")
    frame.get_by_label("State").select_option("failed")
    expect(frame.locator(".card")).not_to_have_count(50)
    assert set(frame.locator(".card .state").all_inner_texts()) == {"Failed"}
    expect(frame.locator(".card").first).to_contain_text("short of credits")
    ui.screenshot(screenshots / "last-night-failed.png")

    frame.get_by_label("DAG").select_option(night)
    expect(frame.locator("#message")).to_contain_text("Nothing matches the filters")

    frame.get_by_label("State").select_option("")
    frame.get_by_label("DAG").select_option("")
    frame.get_by_label("Agent").select_option("Picture and sound")
    expect(frame.locator(".card")).to_have_count(1)
    frame.get_by_label("Agent").select_option("")
    frame.get_by_label("Show").select_option("Posts")
    expect(frame.locator("#total")).to_contain_text("1 post ")


def test_thumbnail_that_failed_is_loaded_by_a_refresh(ui: AirflowUi, night: str, mosaic: Emulator) -> None:
    mosaic.inject("server_error", path="/mosaic-emulator-media/*", times=None)
    frame = ui.open_last_night()
    frame.get_by_label("DAG").select_option("edit_recording")
    expect(frame.locator(".card")).not_to_have_count(50)
    expect(frame.locator(".card img")).to_have_count(0)
    mosaic.clear_faults()
    frame.get_by_role("button", name="Refresh").click()
    wait_until(
        frame,
        "document.querySelectorAll('.card img').length === 2"
        " && [...document.querySelectorAll('.card img')].every((image) => image.naturalWidth > 0)",
    )
    ui.expect_failed_loads()


def test_cards_play_in_place(ui: AirflowUi, night: str, scenarios: Scenarios, screenshots: Path) -> None:
    frame = ui.open_last_night()
    frame.get_by_label("DAG").select_option("edit_recording")
    expect(frame.locator(".card")).not_to_have_count(50)
    frame.get_by_role("button", name="Play edit_recording").first.click()
    wait_until(
        frame,
        "(() => { const player = document.querySelector('video');"
        " return player && player.readyState >= 2 && player.currentTime > 0.3 })()",
    )
    # A refresh leaves the player alone.
    frame.get_by_role("button", name="Refresh").click()
    frame.wait_for_load_state("networkidle")
    expect(frame.locator("video")).to_have_count(1)
    ui.screenshot(screenshots / "last-night-playing.png")
    assert ui.serious_findings(frame) == []

    # Only Mosaic knows that the first output is no video.
    frame.get_by_label("DAG").select_option(scenarios.generated.dag_id)
    expect(frame.locator(".card")).to_have_count(1)
    frame.get_by_role("button", name="Play generate").click()
    wait_until(frame, "document.querySelector('.card.open .frame > img')?.naturalWidth > 0")


def test_card_leads_to_the_task_in_airflow(ui: AirflowUi, night: str) -> None:
    frame = ui.open_last_night()
    frame.get_by_label("DAG").select_option(night)
    expect(frame.locator("#total")).to_contain_text("300 runs")
    frame.get_by_role("link", name=re.compile(r"edit \[\d+\]")).nth(1).click()
    ui.page.wait_for_url(f"**/dags/{night}/runs/*/tasks/edit/mapped/*")
    ui.page.get_by_role("link", name="Mosaic", exact=True).first.wait_for()
