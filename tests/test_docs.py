"""Check the documentation: its code parses, its links resolve, and the names in it exist."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mosaic_emulator
import pytest
from mosaic_emulator.settings import Settings

import airflow_provider_mosaic
from airflow_provider_mosaic import exceptions, operators, sensors, triggers
from airflow_provider_mosaic.connection_form import EXTRA_FIELDS
from dev import reference

ROOT = Path(__file__).parent.parent
#: The imported package. In the test matrix it is the installed wheel, not the folder beside the pages.
PACKAGE = Path(str(airflow_provider_mosaic.__file__)).parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{page.name}:{text[: match.start()].count(chr(10)) + 1}", match[3])
        for page, text in TEXTS.items()
        for match in FENCE.finditer(text)
        if match[2] == language
    ]


def find(pattern: str, *, in_code: bool = False) -> dict[str, set[str]]:
    """Return what a pattern finds on the pages, with the names of the pages. ``in_code``: only in inline code."""
    found: dict[str, set[str]] = {}
    for page, text in TEXTS.items():
        parts = re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) if in_code else [text]
        for match in (match for part in parts for match in re.finditer(pattern, part)):
            found.setdefault(match[1], set()).add(page.name)
    return found


def parameters(*callables: Callable[..., Any]) -> set[str]:
    return {name for each in callables for name in inspect.signature(each).parameters}


def methods(kind: type) -> list[Callable[..., Any]]:
    return [member for name, member in inspect.getmembers(kind, callable) if not name.startswith("_")]


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("where", "code"), blocks("python"))
def test_every_python_block_parses_and_its_imports_exist(where: str, code: str) -> None:
    tree = ast.parse(code, where)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_mosaic"):
            try:
                module = __import__(node.module or "", fromlist=["_"])
            except ImportError as error:
                # Some modules need a newer Airflow, and the error says so.
                if "needs an Airflow" not in str(error):
                    raise
                continue
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{where}: {node.module} has no {missing}"


def test_every_name_that_the_pages_import_stays_stable() -> None:
    compatibility = TEXTS[ROOT / "docs" / "compatibility.md"]
    (row,) = (line for line in compatibility.splitlines() if line.startswith("| public names"))
    public = set(re.findall(r"`([\w.]+)`", row.split("|")[1]))
    imported = {
        (node.module.removeprefix("airflow_provider_mosaic."), alias.name)
        for where, code in blocks("python")
        # The page says that the complete receiver imports other names.
        if not where.startswith("webhooks.md")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("airflow_provider_mosaic.")
        for alias in node.names
    }
    # Written out in a sentence.
    called = {tuple(name.rsplit(".", 1)) for name in find(r"^airflow_provider_mosaic\.([\w.]+)\(", in_code=True)}
    assert called
    named = imported | called
    assert {name for name in named if name[0] not in public and ".".join(name) not in public} == set()


def test_every_json_block_parses() -> None:
    for where, code in blocks("json"):
        assert json.loads(code) is not None, where


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    for link in LINK.findall(TEXTS[page]):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.is_relative_to(ROOT / PACKAGE.name):
            target = PACKAGE / target.relative_to(ROOT / PACKAGE.name)
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page.name}: no such heading: {link}"


def test_every_named_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    # In code, not in sentences.
    named = {each for text in TEXTS.values() for each in re.findall(r"(?m)(?:`|^)make ([a-z][a-z\-]+)", text)}
    targets = set(re.findall(r"^([a-z][a-z\-]*):", makefile, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets, f"not in the Makefile: {named - targets}"


def test_every_operator_and_sensor_is_in_the_readme() -> None:
    assert [name for name in (*operators.__all__, *sensors.__all__) if f"`{name}`" not in README] == []


def test_every_named_class_exists() -> None:
    known = {
        *operators.__all__,
        *sensors.__all__,
        *exceptions.__all__,
        "MosaicHook",
        "MosaicOperator",
        *triggers.__all__,
        "MosaicRetryPolicy",
    }
    for page, text in TEXTS.items():
        named = set(re.findall(r"\bMosaic[A-Z]\w+", text))
        assert named <= known, f"{page.name} names classes that do not exist: {named - known}"


OPTIONS = find(r"(?<![\w-])(--[a-z][a-z-]+)")
VARIABLES = find(r"\b((?:MOSAIC|AIRFLOW)_[A-Z_]*[A-Z])\b")
SECTIONS = find(r"^(\[\w+\] \w+)", in_code=True)
ARGUMENTS = find(r"(?<![\w.\"'-])([a-z_]+)=(?![=&])", in_code=True)


@pytest.fixture(scope="module", autouse=True)
def print_numbers(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    links = sum(len(LINK.findall(text)) for text in TEXTS.values())
    code = sum(len(FENCE.findall(text)) for text in TEXTS.values())
    options = len(OPTIONS) + len(VARIABLES) + len(SECTIONS) + len(ARGUMENTS)
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{len(PAGES)} pages: {links} links, {code} code blocks, {options} options and arguments")


@cache
def code() -> str:
    """Return the text of everything that reads options."""
    folders = (PACKAGE, Path(mosaic_emulator.__file__).parent, ROOT / "dev")
    return "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))


def test_every_command_line_option_exists() -> None:
    known = set(re.findall(r'"(--[a-z-]+)"', code()))
    # Of Airflow's commands, and arguments that the provider's commands take from it.
    known |= {"--conf", "--dry-run", "--reprocess-behavior", "--max-active-runs", "--bundle-name", "--include-deferred"}
    known |= {"--output", "--verbose", "--yes", "--downstream"}
    assert {name: pages for name, pages in OPTIONS.items() if name not in known} == {}


def test_every_environment_variable_is_read() -> None:
    # The receiver of webhooks reads its own.
    known = code() + "".join(block for _, block in blocks("python"))
    assert {name: pages for name, pages in VARIABLES.items() if name not in known} == {}


def test_every_section_and_option_of_airflow_exists() -> None:
    from airflow.configuration import conf

    pairs = [match.groups() for name in SECTIONS if (match := re.fullmatch(r"\[(\w+)\] (\w+)", name))]
    assert pairs
    known = {
        (section, each) for section, options in conf.configuration_description.items() for each in options["options"]
    }
    # Celery's sections come with its provider.
    assert [pair for pair in pairs if not pair[0].startswith("celery") and pair not in known] == []


def test_every_argument_exists() -> None:
    from airflow.sdk import DAG, Asset

    from airflow_provider_mosaic.assets import finished_runs
    from airflow_provider_mosaic.hooks import MosaicHook

    kinds = [getattr(module, name) for module in (operators, sensors, triggers) for name in module.__all__]
    bases = {base for kind in kinds for base in kind.__mro__}
    known = parameters(*bases - {object}, DAG, Asset, finished_runs, MosaicHook, *methods(MosaicHook))
    known |= parameters(mosaic_emulator.Emulator, *methods(mosaic_emulator.Emulator)) | set(Settings.model_fields)
    # Of `xcom_pull`, requests and jsonschema.
    known |= {"task_ids", "map_indexes", "key", "files", "schema"}
    assert {name: pages for name, pages in ARGUMENTS.items() if name not in known} == {}


def test_every_field_of_the_connection_is_on_its_page() -> None:
    page = TEXTS[ROOT / "docs" / "connection.md"]
    assert [field.name for field in EXTRA_FIELDS if f"`{field.name}`" not in page] == []


def test_the_quick_start_is_the_example_that_runs_on_a_real_airflow() -> None:
    _, code = blocks("python")[0]
    example = (ROOT / "example_dags" / "mosaic_quick_start.py").read_text(encoding="utf-8")
    _, _, without_docstring = example.split('"""', 2)
    assert code == without_docstring.replace("    doc_md=__doc__,\n", "").lstrip("\n")


def test_the_design_names_every_module() -> None:
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("[!_]*.py")} | {"__main__.py"}
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", TEXTS[ROOT / "docs" / "design.md"]))
    # One row for all modules of the folder.
    nouns = ("agents_as_code/", "api/endpoints/", "operators/", "sensors/", "tasks/", "triggers/")
    assert {name for name in modules - named if not name.startswith(nouns)} == set()
    known = {name.removeprefix(folder) for name in modules for folder in ("", *nouns)}
    assert named - known == {"tests/test_architecture.py"}


def test_the_reference_is_up_to_date() -> None:
    assert reference.page() == reference.PAGE.read_text(encoding="utf-8"), "run make reference"
