"""
Generate docs/operators.md from the docstrings and signatures of the public classes.

`python -m dev.reference` writes the file. A test checks that it is current.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from dev.paths import ROOT

PAGE = ROOT / "docs" / "operators.md"

_HEAD = """# Operators and sensors

This page is made from the docstrings by `make reference`. All arguments are keywords. Every class also takes the
arguments of Airflow's `BaseOperator` (sensors: `BaseSensorOperator`). Operators also take `optional`: the names of
templated arguments that [may render to None](promises.md#arguments-that-render-to-none) and are then left out.

Constants are validated when the DAG file is parsed. Templates and the outputs of other tasks are validated when the
task runs. Tasks with a run, a post or an upload push the XCom `mosaic_item`, the ids that their
[page in Airflow](pages.md) needs.

In the grid, the rows of a mapped task and of a mapped task group are labelled with what differs between them: the name
of a file, or an id. To label them differently, set Airflow's `map_index_template`.
"""
_PARAM = re.compile(r"^:param (\w+): ", re.MULTILINE)


def page() -> str:
    """Return the page."""
    from airflow_provider_mosaic import operators, sensors

    sections = [(package, name) for package in (operators, sensors) for name in package.__all__]
    return "\n".join([_HEAD, *(_section(package, name) for package, name in sections)])


def _section(package: Any, name: str) -> str:
    cls = getattr(package, name)
    text = inspect.cleandoc(cls.__doc__ or "")
    first = _PARAM.search(text)
    assert first is not None
    story, params = text[: first.start()].strip(), text[first.start() :]
    defaults = {
        parameter.name: parameter
        for parameter in inspect.signature(inspect.unwrap(cls.__init__)).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    parts = _PARAM.split(params)[1:]
    rows = [
        f"| `{param}` | {_default(defaults.get(param))} | {' '.join(words.split())} |"
        for param, words in zip(parts[::2], parts[1::2], strict=True)
    ]
    templated = ", ".join(f"`{field}`" for field in cls.template_fields)
    return "\n".join(
        [
            f"## {name}",
            "",
            f"`from {package.__name__} import {name}`",
            "",
            story.replace("``", "`"),
            "",
            "| argument | default | meaning |",
            "| --- | --- | --- |",
            *(row.replace("``", "`") for row in rows),
            "",
            f"Templated: {templated}.{_optional(cls)}",
            "",
        ]
    )


def _optional(cls: Any) -> str:
    names = ", ".join(f"`{name}`" for name in getattr(cls, "_may_be_empty", ()))
    return f" May be named in `optional`: {names}." if names else ""


def _default(parameter: inspect.Parameter | None) -> str:
    if parameter is None:
        return "Airflow's"
    if parameter.default is parameter.empty:
        return "required"
    if parameter.name == "deferrable":
        return "Airflow's"
    return f"`{parameter.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
