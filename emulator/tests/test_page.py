from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mosaic_emulator.catalogue import CONNECTIONS, fixed_agents
from mosaic_emulator.core.faults import KINDS
from mosaic_emulator.routes import endpoints
from mosaic_emulator.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"


@pytest.fixture(scope="module")
def page() -> str:
    if not PAGE.exists():
        pytest.skip("the documentation is not in the checkout")
    return PAGE.read_text()


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of a section's tables by their first cell."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            found[cells[0].strip("`")] = cells[1:]
    return found


def test_docs_list_every_setting(page: str) -> None:
    listed = rows(page, "Settings")
    assert list(listed) == list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default, text = listed[name]
        assert default == f"`{json.dumps(field.get_default(call_default_factory=True))}`", name
        assert text.startswith(field.description or "?"), name


def test_docs_list_every_fault(page: str) -> None:
    listed = rows(page, "Faults")
    assert set(listed) == set(KINDS)
    for kind, described in KINDS.items():
        for option in described.options:
            assert f"`{option}`" in listed[kind][-1], f"{kind}: {option}"


def test_docs_list_every_endpoint_and_fixed_id(page: str) -> None:
    assert len(endpoints()) >= 20
    for method, path in endpoints():
        assert f"`{method} {path}`" in page
    for agent in fixed_agents().values():
        assert agent.id in page
        assert agent.name in page
    for connection in CONNECTIONS:
        assert connection in page


def test_settings_of_assumptions_exist(page: str) -> None:
    section = page.split("\n## Assumptions\n")[1]
    for line in section.splitlines():
        if line.startswith("| ") and line.count("|") == 4:
            for name in re.findall(r"`(\w+)`", line.split("|")[3]):
                assert name in Settings.model_fields, line
