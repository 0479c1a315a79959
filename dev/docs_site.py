"""
The parts of the site that are not in `docs/`. mkdocs calls the functions (`hooks` in `mkdocs.yml`).

The site also shows the README, the other pages at the root, the example DAGs, and a reference from the docstrings.
Links in the sources lead to files of the repository. On the site they lead to the page made from that file.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider_mosaic"

#: Pages and files outside `docs/`: where each is in the repository, and on the site.
_OUTSIDE_DOCS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "LICENSE": "LICENSE.txt",
    f"{PACKAGE}/agents_as_code/agent_definition.schema.json": "agent_definition.schema.json",
}
#: Folders that a page describes.
_FOLDERS = {"example_dags": "examples.md"}
#: Pages of the reference, besides docs/operators.md: title, options of mkdocstrings, and what to document. Of a package
#: or module with an `__all__`, each name in it is documented.
_REFERENCE = {
    "hook": ("Hook", "inherited_members: true", ["hooks.mosaic.MosaicHook"]),
    "events": ("Events and retries", "members: false", ["assets.finished_runs", "retry_policy.MosaicRetryPolicy"]),
    "triggers": ("Triggers", "members: false", ["triggers"]),
    "exceptions": ("Exceptions", "", ["exceptions"]),
    "webhooks": ("Webhooks", "", ["api.webhooks"]),
}
_ENDPOINTS = ROOT / PACKAGE / "api" / "endpoints"
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)

_log = logging.getLogger("mkdocs.hooks.docs_site")
_site_paths: dict[str, str] = {}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and files from outside `docs/`, the example DAGs, and the reference."""
    _site_paths.clear()
    _site_paths.update({f"docs/{file.src_uri}": file.src_uri for file in files})
    _site_paths.update(_FOLDERS)
    for source, target in _OUTSIDE_DOCS.items():
        _add(files, config, target, (ROOT / source).read_text(encoding="utf-8"), source=source)
    for path in sorted((ROOT / "example_dags").iterdir()):
        if path.suffix in {".py", ".yaml"}:
            target = f"examples/{path.name}.md"
            _add(files, config, target, _example(path), source=f"example_dags/{path.name}")
    for name, (title, options, sources) in _REFERENCE.items():
        names = [each for source in sources for each in (_exported(source) or [source])]
        _add(files, config, f"reference/{name}.md", _reference(title, names, options))
    models = [f"api.endpoints.{path.stem}.{name}" for path in _modules() for name in _classes(path)]
    _add(files, config, "reference/models.md", _reference("Models", models, ""))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links to files of the repository into links to their pages."""
    sources = {target: source for source, target in _site_paths.items() if source not in _FOLDERS}
    folder = posixpath.dirname(sources.get(page.file.src_uri, ""))
    code = [match.span() for match in _CODE.finditer(markdown)]

    def translate(match: re.Match[str]) -> str:
        link = match[1]
        path, hash_, anchor = link.partition("#")
        target = _site_paths.get(posixpath.normpath(posixpath.join(folder, path)))
        if not path or target is None or any(start <= match.start() < end for start, end in code):
            return link
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".") + hash_ + anchor

    return _LINK.sub(translate, markdown)


def on_post_build(config: Any) -> None:
    """Check every link of the built site that leads into it, to a file or to an anchor."""
    site = Path(config.site_dir)
    pages = {path: _Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    broken, count = [], 0
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            count += 1
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if target.is_dir():
                target /= "index.html"
            anchors = pages[target].anchors if target in pages else set()
            if not target.is_file() or (url.fragment and unquote(url.fragment) not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    if broken:
        raise PluginError("These links lead nowhere:\n" + "\n".join(sorted(set(broken))))
    _log.info("%d links inside the site lead to one of %d pages", count, len(pages))


def _add(files: Any, config: Any, target: str, content: str, *, source: str = "") -> None:
    files.append(File.generated(config, target, content=content))
    if source:
        _site_paths[source] = target


def _example(path: Path) -> str:
    """Return an example DAG as a page: its docstring, then its code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return f"# {path.name}\n\n```yaml\n{text}```\n"
    docstring = ast.get_docstring(ast.parse(text)) or ""
    title, _, story = docstring.partition("\n")
    code = text.split('"""', 2)[2].replace("    doc_md=__doc__,\n", "").lstrip("\n")
    return f'# {title.lstrip("# ")}\n{story}\n\n```python title="{path.name}"\n{code}```\n'


def _reference(title: str, names: list[str], options: str) -> str:
    more = f"\n    options: {{ {options} }}" if options else ""
    return f"# {title}\n\n" + "\n\n".join(f"::: {PACKAGE}.{name}{more}" for name in names) + "\n"


def _exported(module: str) -> list[str]:
    """Return the names in `__all__` of a package or module, without importing it. Empty if there is none."""
    folder = ROOT / PACKAGE / module.replace(".", "/")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not path.is_file():
        return []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [f"{module}.{name}" for name in ast.literal_eval(node.value)]
    return []


def _modules() -> list[Path]:
    return sorted(path for path in _ENDPOINTS.glob("*.py") if path.stem != "__init__")


def _classes(path: Path) -> list[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


class _Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value and tag != "base":
                self.links.append(value)
