"""The examples of README.md work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.core.faults import KINDS
from mosaic_emulator.settings import Settings

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def readme() -> str:
    if not README.exists():
        pytest.skip("the documentation is not in the checkout")
    return README.read_text()


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_pytest_example(readme: str, tmp_path: Path) -> None:
    [block] = [each for each in python_blocks(readme) if "def test_" in each]
    (tmp_path / "test_example.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_fault_and_settings_examples(readme: str, mosaic: Emulator) -> None:
    for block in python_blocks(readme):
        if block.startswith("mosaic."):
            exec(block, {"mosaic": mosaic})
    assert len(mosaic.faults()) == 3
    assert mosaic.settings()["credits"] == 25


def test_curl_example(readme: str, mosaic: Emulator) -> None:
    [path, body] = re.findall(r"8765(/agent/\S+) .*?-d '(.*?)'", readme, re.DOTALL)[0]
    headers = {"Authorization": f"Bearer {mosaic.api_key}", "Content-Type": "application/x-www-form-urlencoded"}
    response = httpx.post(f"{mosaic.url}{path}", content=body, headers=headers, trust_env=False)
    assert set(response.json()) == {"run_id"}


def test_every_fault_is_listed(readme: str) -> None:
    section = readme.split("## Faults on request")[1].split("\n## ")[0]
    assert set(KINDS) <= set(re.findall(r"`(\w+)`", section))


def test_named_settings_exist(readme: str) -> None:
    assert set(re.findall(r"configure\((\w+)=", readme)) <= set(Settings.model_fields)
