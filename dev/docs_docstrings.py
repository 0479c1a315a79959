"""Let the site show docstrings as they are meant: a griffe extension (`mkdocs.yml`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|exc|data):`(~?)([\w.]+)`")
_LITERAL_BLOCK = re.compile(r"::$", re.MULTILINE)
_PARAM = re.compile(r"^:param (\w+):", re.MULTILINE)
#: The label of griffe that neither class variables nor properties have.
_FIELD = "instance-attribute"
_MODELS = ("airflow_provider_mosaic.api.endpoints.", "airflow_provider_mosaic.api.webhooks.")
_ENDPOINT_METHODS = "airflow_provider_mosaic.hooks.endpoint_methods.EndpointMethods"


class Docstrings(griffe.Extension):  # type: ignore[misc] # `make types` runs without griffe
    """Translate reStructuredText to Markdown, and show the hook's methods with the arguments of their endpoints."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Translate the roles and literal blocks of a docstring."""
        if obj.docstring:
            obj.docstring.value = _LITERAL_BLOCK.sub(":", _ROLE.sub(_reference, obj.docstring.value))

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """List the fields of models, and turn `get_run = endpoint(lambda: endpoints.runs.get_run)` into a method."""
        if not _ENDPOINT_METHODS.startswith(f"{pkg.path}."):
            return
        for cls in _classes(pkg):
            _describe_fields(cls)
        methods = pkg[_ENDPOINT_METHODS.removeprefix(f"{pkg.path}.")]
        for name, member in list(methods.members.items()):
            value = getattr(member, "value", None)
            if isinstance(value, griffe.ExprCall):
                path = f"{pkg.path}.api.{value.arguments[0].body}"
                methods.set_member(name, _method(name, pkg, path, paginated=str(value.function) == "paginated"))


def _classes(module: griffe.Module) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if member.is_alias:
            continue
        if member.is_class:
            yield member
        elif member.is_module:
            yield from _classes(member)


def _describe_fields(cls: griffe.Class) -> None:
    """List the fields of a model in its docstring."""
    if not cls.docstring or "__init__" in cls.members or not cls.path.startswith(_MODELS):
        return
    text = cls.docstring.value
    documented = _PARAM.findall(text)
    fields = [name for name, each in cls.attributes.items() if each.annotation and each.has_labels(_FIELD)]
    more = "".join(f"\n:var {name}: " for name in fields if name not in documented)
    cls.docstring.value = _PARAM.sub(r":var \1:", text) + ("\n" + more if more else "")


def _method(name: str, pkg: griffe.Module, path: str, *, paginated: bool) -> griffe.Function:
    endpoint = pkg[path.removeprefix(f"{pkg.path}.")]
    itself = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    method = griffe.Function(
        name,
        parameters=griffe.Parameters(itself, *endpoint.parameters),
        returns=_result(endpoint.returns, paginated=paginated),
        docstring=endpoint.docstring,
        lineno=endpoint.lineno,
        endlineno=endpoint.endlineno,
    )
    method.labels.add("paginated" if paginated else "endpoint")
    return method


def _result(returns: Any, *, paginated: bool) -> Any:
    """Return `T`, or `Iterator[T]`, for `Call[T]` and `Listing[T]`."""
    if not isinstance(returns, griffe.ExprSubscript):
        return returns
    return griffe.ExprSubscript(griffe.ExprName("Iterator"), returns.slice) if paginated else returns.slice


def _reference(match: re.Match[str]) -> str:
    name = match[2].rpartition(".")[2] if match[1] else match[2]
    return f'<autoref identifier="{match[2]}" optional><code>{name}</code></autoref>'
