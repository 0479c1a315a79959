"""
An endpoint as a method: what it takes, what that means and what it gives are written once, at its function in ``api``.

.. code-block:: python

    class Endpoints(Sender):
        get_run = sends(runs.get_run)  # hook.get_run(run_id) gives a Run
        list_runs = walks(runs.list_runs)  # hook.list_runs(...) gives an iterator of Runs that pages by itself
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.paging import Listing
from airflow_provider_mosaic.api.retries import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")


class Sender(ABC):
    """Whatever sends calls."""

    @abstractmethod
    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """Send a call."""

    @abstractmethod
    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Walk through a list."""


def sends(
    endpoint: Callable[P, Call[T]],
    *,
    name: str | None = None,
    prepare: Callable[[Any, Call[T]], Call[T]] = lambda sender, call: call,
) -> Callable[Concatenate[Sender, P], T]:
    """
    A method that sends the call of an endpoint.

    :param endpoint: The function of ``api``; the method takes the same arguments.
    :param name: The method's name, where it is another one than that of the function.
    :param prepare: Called with the sender and the call; returns the call to send.
    """

    def method(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(prepare(self, endpoint(*args, **kwargs)))

    _present(method, endpoint, gives="{}")
    method.__name__ = method.__qualname__ = name or endpoint.__name__
    return method


def walks(endpoint: Callable[P, Listing[T]]) -> Callable[Concatenate[Sender, P], Iterator[T]]:
    """
    A method that walks through the list of an endpoint.

    :param endpoint: The function of ``api``; the method takes the same arguments.
    """

    def method(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.iterate(endpoint(*args, **kwargs))

    _present(method, endpoint, gives="Iterator[{}]")
    return method


def _present(method: Any, endpoint: Callable[..., Any], *, gives: str) -> None:
    """Let ``help()`` and tracebacks show a method as if it had been written out."""
    signature = inspect.signature(endpoint)
    # Annotations are texts: those of the endpoints are ``Call[...]`` and ``Listing[...]``.
    result = signature.return_annotation.partition("[")[2].removesuffix("]")
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__name__ = method.__qualname__ = endpoint.__name__
    method.__doc__ = endpoint.__doc__
    method.__signature__ = signature.replace(
        parameters=[itself, *signature.parameters.values()], return_annotation=gives.format(result)
    )
