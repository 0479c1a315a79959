"""All samples: by function name, with a suffix after a colon if there are several."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from airflow_provider_mosaic.api import endpoints

from .samples import CORE_SAMPLES
from .samples_beyond_runs import MORE_SAMPLES

SAMPLES = {**CORE_SAMPLES, **MORE_SAMPLES}
#: Functions with a ``Call`` or ``Listing`` that are not endpoints.
NO_ENDPOINTS = {"running_runs", "paged", "by_cursor", "by_offset"}


def endpoint_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return every public function that returns a call or a list."""
    for module in pkgutil.iter_modules(endpoints.__path__, f"{endpoints.__name__}."):
        for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction):
            returns = str(function.__annotations__.get("return", ""))
            if (
                function.__module__ == module.name
                and not name.startswith("_")
                and name not in NO_ENDPOINTS
                and returns.startswith(("Call[", "Listing["))
            ):
                yield name, function
