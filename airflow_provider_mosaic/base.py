"""The base class of operators and sensors: validation while the DAG file is parsed, and labels of mapped rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_mosaic.row_labels import default_template, row_label
from airflow_provider_mosaic.validation import is_mapped_item, validate_constants

if TYPE_CHECKING:
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_provider_mosaic.api.arguments import Validator


class MosaicBaseOperator(BaseOperator):
    """Base class of operators and sensors. Validates constant arguments while the DAG file is parsed."""

    ui_color = "#e9e4fb"

    # A template or a reference in the DAG file, text when the task runs.
    mosaic_conn_id: Any

    #: A validator for each argument.
    _options: ClassVar[Mapping[str, Validator]]
    #: The arguments that can label the rows of a mapped task, the most specific one first.
    _row_label_arguments: ClassVar[tuple[str, ...]]

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """
        Define a mapped task. Validate the constants that its items share; the rest is validated when an item runs.

        :param kwargs: The arguments that all items share.
        :raises MosaicValidationError: A constant is wrong, or can't be shared by the items.
        """
        mapped = super().partial(**kwargs)
        validate_constants(cls._options, kwargs, template_fields=cls.template_fields, dag=mapped.kwargs["dag"])
        cls._validate_partial(mapped.kwargs)
        if mapped.kwargs.get("map_index_template") is None and "map_index_template" not in kwargs:
            mapped.kwargs["map_index_template"] = default_template(mapped.kwargs["dag"])
        return mapped

    @classmethod
    def _validate_partial(cls, kwargs: Mapping[str, Any]) -> None:
        """Raise if the arguments that the items of a mapped task share, with ``default_args``, are wrong."""

    def row_label(self, ti: Any) -> str:
        """Return the label of a row of a mapped task, for its ``map_index_template``."""
        return row_label(self, self._row_label_arguments, ti.map_index)

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments by name, without the connection."""
        return {name: getattr(self, name) for name in self._options if name != "mosaic_conn_id"}

    def _validate_constants(self, **renamed: Any) -> None:
        """
        Validate the constant arguments. Call it at the end of the constructor.

        :param renamed: The arguments that are not attributes of the same name.
        """
        dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        if self.map_index_template is None and self.get_closest_mapped_task_group() is not None:
            self.map_index_template = default_template(dag)
        if is_mapped_item(self):
            return
        arguments = {name: renamed[name] if name in renamed else getattr(self, name) for name in self._options}
        validate_constants(self._options, arguments, template_fields=self.template_fields, dag=dag)
        self._validate_combinations()

    def _validate_combinations(self) -> None:
        """Raise if arguments exclude each other, or one is missing. This does not depend on rendered values."""


def is_trigger_timeout(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Return whether Airflow resumes a deferred task because its trigger's timeout is over."""
    # TriggerFailureReason.TRIGGER_TIMEOUT
    return next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout"
