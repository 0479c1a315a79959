"""The wheels and source distributions: what they contain, and what they do not."""

from __future__ import annotations

import ast
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

PROVIDER, EMULATOR = "airflow_provider_mosaic", "mosaic_emulator"


class Wheel:
    """The files of a wheel by name."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}

    def packages(self) -> set[str]:
        return {name.partition("/")[0] for name in self.files if ".dist-info/" not in name}

    def info(self, name: str) -> str:
        return "".join(data.decode() for path, data in self.files.items() if path.endswith(f".dist-info/{name}"))

    def imports(self) -> set[str]:
        """Return the top-level names that the modules import."""
        names: set[str] = set()
        for path, source in self.files.items():
            if not path.endswith(".py") or "/demo/dags/" in path:
                continue
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names.add(node.module or "")
        return {name.partition(".")[0] for name in names}


@pytest.fixture(scope="module")
def wheels() -> dict[str, Wheel]:
    if "WHEELS" not in os.environ:
        pytest.skip("nox builds the wheels and sets WHEELS")
    paths = list(Path(os.environ["WHEELS"]).glob("*.whl"))
    assert len(paths) == 2
    return {path.name.partition("-")[0]: Wheel(path) for path in paths}


@pytest.fixture
def provider(wheels: dict[str, Wheel]) -> Wheel:
    return wheels["airflow_provider_mosaic"]


@pytest.fixture
def emulator(wheels: dict[str, Wheel]) -> Wheel:
    return wheels["airflow_provider_mosaic_emulator"]


def test_provider_contains_no_emulator(provider: Wheel) -> None:
    assert provider.packages() == {PROVIDER}
    assert not [name for name in provider.files if "emulator" in name]
    assert EMULATOR not in provider.imports()


def test_provider_has_no_pytest_plugin(provider: Wheel) -> None:
    assert "apache_airflow_provider" in provider.info("entry_points.txt")
    assert "pytest11" not in provider.info("entry_points.txt")


def test_emulator_contains_its_plugin_and_command(emulator: Wheel) -> None:
    assert emulator.packages() == {EMULATOR}
    entry_points = emulator.info("entry_points.txt")
    assert "[pytest11]\nmosaic_emulator = mosaic_emulator.pytest_plugin" in entry_points
    assert "[console_scripts]\nmosaic-emulator = mosaic_emulator.__main__:main" in entry_points


def test_emulator_depends_on_neither_airflow_nor_the_provider(emulator: Wheel) -> None:
    assert {"airflow", PROVIDER}.isdisjoint(emulator.imports())
    required = [line for line in emulator.info("METADATA").splitlines() if line.startswith("Requires-Dist:")]
    assert required
    assert not [line for line in required if "airflow" in line]


def test_emulator_contains_its_data(emulator: Wheel) -> None:
    names = {name.removeprefix(f"{EMULATOR}/") for name in emulator.files}
    assert {"control/page.css", "control/icon.svg", "samples/sample.mp4", "samples/sample.jpg"} <= names


def test_emulator_contains_the_demos_dag(emulator: Wheel) -> None:
    assert f"{EMULATOR}/demo/dags/mosaic_nightly_pipeline.py" in emulator.files


@pytest.mark.parametrize(
    ("distribution", "package", "others"),
    [
        (PROVIDER, PROVIDER, {"docs", "example_dags", "CHANGELOG.md", "SECURITY.md"}),
        (f"{PROVIDER}_emulator", EMULATOR, set()),
    ],
)
def test_source_distributions_contain_the_package_its_tests_and_docs(
    wheels: dict[str, Wheel], distribution: str, package: str, others: set[str]
) -> None:
    [path] = Path(os.environ["WHEELS"]).glob(f"{distribution}-*.tar.gz")
    with tarfile.open(path) as archive:
        # Without the folder that has the name and the version.
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name.partition("/")[0] for name in names} - {".gitignore"} == {
        *(package, "tests", "README.md", "LICENSE", "pyproject.toml", "PKG-INFO"),
        *others,
    }
    in_wheel = {name for name in wheels[distribution].files if name.startswith(f"{package}/")}
    assert {name for name in names if name.startswith(f"{package}/")} == in_wheel


@pytest.mark.parametrize("name", [PROVIDER, EMULATOR])
def test_wheels_are_typed_and_licensed(wheels: dict[str, Wheel], name: str) -> None:
    [wheel] = [each for each in wheels.values() if each.packages() == {name}]
    assert f"{name}/py.typed" in wheel.files
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in wheel.files)
