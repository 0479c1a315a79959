"""An Airflow that is too old is refused when the provider is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_mosaic


def import_beside(folder: Path, distribution: str, version: str) -> str:
    """Import the provider where one distribution is installed and no other; return the last line of the error."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    package = Path(str(airflow_provider_mosaic.__file__)).parent
    (folder / package.name).symlink_to(package)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {package.name}; print('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] or done.stdout.strip()


@pytest.mark.parametrize(("distribution", "version"), [("apache-airflow", "2.11.0"), ("apache-airflow-core", "3.0.6")])
def test_an_airflow_before_3_1_is_refused_with_one_sentence(tmp_path: Path, distribution: str, version: str) -> None:
    assert import_beside(tmp_path, distribution, version) == (
        f"ImportError: airflow-provider-mosaic needs Airflow 3.1 or newer. This environment has {version}."
    )


@pytest.mark.parametrize(
    ("distribution", "version"),
    [("apache-airflow-core", "3.1.0"), ("apache-airflow-core", "3.10.0b1"), ("apache-airflow-task-sdk", "1.1.0")],
)
def test_other_airflows_are_accepted_without_importing_them(tmp_path: Path, distribution: str, version: str) -> None:
    assert import_beside(tmp_path, distribution, version) == "False"
