"""Interface of the clients of the API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.paging import Listing
from airflow_provider_mosaic.api.retries import RetryPolicy

T = TypeVar("T")


class ApiClient(ABC):
    """Send calls and iterate over lists."""

    @abstractmethod
    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """Send a call and return its result."""

    @abstractmethod
    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Return an iterator of a list's items that reads one page after another."""
