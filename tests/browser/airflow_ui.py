"""Airflow's UI in a window of Chromium, with a record of what the pages request and report."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from axe_playwright_python.sync_playwright import Axe
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from playwright.sync_api import Browser, ConsoleMessage, Error, Frame, Page, Request, expect
from scenarios import Task

#: Milliseconds. The machine may be slow.
TIMEOUT = 60_000
expect.set_options(timeout=TIMEOUT)


def wait_until(frame: Frame, expression: str, argument: object = None) -> None:
    """Wait until an expression is true. Playwright's own function needs `eval`, which the pages' policy forbids."""
    deadline = time.monotonic() + TIMEOUT / 1000
    while not frame.evaluate(expression, argument):
        assert time.monotonic() < deadline, expression
        frame.page.wait_for_timeout(100)


class AirflowUi:
    """
    A window with Airflow's UI.

    :param theme: ``light`` or ``dark``, as the user chose it in Airflow's UI.
    """

    def __init__(self, browser: Browser, airflow: AirflowInstance, mosaic: Emulator, *, theme: str, width: int) -> None:
        self.url = airflow.url
        self.theme = theme
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self._mosaic = mosaic
        # The system's theme is the opposite, so that only Airflow's can be the reason for what is seen.
        system = "light" if theme == "dark" else "dark"
        self._context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=system,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        self._context.set_default_timeout(TIMEOUT)
        self._context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        self.page: Page = self._context.new_page()
        self.page.on("request", self._record_request)
        self.page.on("console", self._record_console)
        self.page.on("pageerror", self._record_error)
        # Airflow 3.1 forgets a deep link while it logs the user in.
        self.page.goto(self.url)
        self.page.get_by_role("link", name="Dags").first.wait_for()

    def _record_request(self, request: Request) -> None:
        try:
            is_ours = "/mosaic/" in urlsplit(request.frame.url).path
        except Error:
            return  # the request of a new frame, for its document
        if is_ours:
            self.hosts.add(urlsplit(request.url).netloc)

    def _record_console(self, message: ConsoleMessage) -> None:
        is_ours = "/mosaic/" in str(message.location.get("url"))
        # Chromium says so of every iframe that Airflow shows.
        if message.type in ("error", "warning") and is_ours and "can escape its sandboxing" not in message.text:
            self.errors.append(message.text)

    def _record_error(self, error: Error) -> None:
        if "/mosaic/" in str(error.stack):
            self.errors.append(str(error))

    def expect_failed_loads(self) -> None:
        """Forget what Chromium reported about responses with an error status: the test caused them."""
        self.errors = [text for text in self.errors if "Failed to load resource" not in text]

    def close(self) -> None:
        """Close the window. Raise if a page reported an error, or requested another host."""
        self._context.close()
        assert self.errors == []
        assert self.hosts <= {urlsplit(self.url).netloc, *self._storage_hosts()}

    def _storage_hosts(self) -> set[str]:
        """Return the hosts of the links that Mosaic returns."""
        headers = {"Authorization": f"Bearer {self._mosaic.api_key}"}
        with urlopen(HttpRequest(f"{self._mosaic.url}/agent_runs?limit=100", headers=headers)) as response:
            runs = json.load(response)["runs"]
        return {urlsplit(output["video_url"]).netloc for run in runs for output in run["outputs"]}

    # Pages

    def open_task(self, task: Task) -> Frame:
        """Open a task instance in Airflow's UI, click on the tab, and return the frame with the page."""
        path = f"/dags/{task.dag_id}/runs/{quote(task.run_id, safe='')}/tasks/{task.task_id}"
        self.page.goto(self.url + path)
        self.page.get_by_role("link", name="Mosaic", exact=True).first.click()
        return self._loaded_frame()

    def open_task_alone(self, task: Task) -> Frame:
        """Open the page of a task instance without Airflow's UI around it."""
        path = "/".join(quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id))
        self.page.goto(f"{self.url}/mosaic/tasks/{path}/-1")
        self.page.wait_for_selector("main[aria-busy=false]")
        return self.page.main_frame

    def open_last_night(self) -> Frame:
        """Open "Last night" from Airflow's navigation, and return the frame with the page."""
        self.page.goto(self.url)
        self.page.get_by_role("button", name="Browse").or_(self.page.get_by_role("link", name="Browse")).first.click()
        self.page.get_by_role("menuitem", name="Mosaic").click()
        return self._loaded_frame()

    def _loaded_frame(self) -> Frame:
        element = self.page.wait_for_selector("iframe")
        frame = element.content_frame() if element else None
        assert frame is not None
        frame.wait_for_selector("[aria-busy=false]")
        return frame

    # What is seen

    def screenshot(self, path: Path) -> None:
        """Save what the window shows, when the images in it have been loaded and decoded."""
        for frame in self.page.frames:
            wait_until(
                frame,
                "[...document.images].every((image) => image.complete"
                " || image.getBoundingClientRect().top > window.innerHeight)",
            )
            # A loaded image is painted when it is decoded, which can take longer than the screenshot.
            frame.evaluate(
                "Promise.all([...document.images].filter((image) => image.complete)"
                ".map((image) => image.decode().catch(() => null)))"
            )
        self.page.screenshot(path=path)

    def serious_findings(self, frame: Frame) -> list[str]:
        """Return what axe finds in a page: the rule and the elements, without minor and moderate findings."""
        found: list[dict[str, Any]] = Axe().run(frame).response["violations"]
        return [
            f"{each['id']}: {[node['html'] for node in each['nodes']]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
