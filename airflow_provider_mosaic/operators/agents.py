"""Create and update agents from definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.base import Location, Text


class MosaicApplyAgentOperator(MosaicOperator):
    """
    Update an agent to match its definition (https://docs.mosaic.so/api/agents/post-agent-update).

    The task reads the agent, sends the differences in one update, and reads the agent again. If nothing differs,
    nothing is sent. The log shows the differences, and a failure says which of them took effect. The page "Agents as
    code" of the docs describes the format of definitions and how nodes are matched. The task starts no run.

    Without ``agent_id``, the agent is the one with the definition's name; if there is none, it is created once. If the
    response to the creation is lost, the list of agents is searched for the name before anything is sent again.

    XCom: ``mosaic_agent_id``; ``operations``, the number of operations; ``node_ids``, the ids of the agent's nodes by
    the keys of the definition; ``mosaic_agent_url``, the URL of the agent's page, if the connection points to Mosaic
    itself. The agent's id is the ``return_value``; None in a dry run if the agent does not exist.

    Errors: ``MosaicConflictError`` if another task created an agent of the name at the same time; ``MosaicError`` if
    the agent does not match after the update; ``MosaicResponseError`` if Mosaic does not show the whole agent. A retry
    compares again. Without retries: ``MosaicValidationError`` for a wrong definition or argument,
    ``MosaicNotFoundError`` for a missing agent, ``MosaicAmbiguousOutcomeError`` if it is unknown whether the agent was
    created, if new nodes do not show after an update, or if another apply created the same nodes at the same time.

    :param definition: The definition: an object, or the path of a YAML or JSON file, which is read without rendering
        templates. A relative path starts at the folder of the DAG file, which may be inside a zip file. A URI of object
        storage works too.
    :param agent_id: The agent. None for the agent with the definition's name.
    :param unknown_nodes: What to do with nodes that the definition does not have, such as nodes added in the editor:
        ``keep`` them with their connections, or ``remove`` them.
    :param dry_run: Whether to log the differences only, and change nothing.
    :param durable: Whether a retry searches for an agent that an earlier attempt may have created and that the list of
        agents does not show yet.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("definition", "agent_id", "mosaic_conn_id")
    template_fields_renderers = {"definition": "json"}
    operator_extra_links = (MosaicAgentLink(),)
    # A parameter that is null is unset.
    _may_contain_none = frozenset({"definition"})
    _options = options.APPLY_AGENT
    _row_label_arguments = ("definition", "agent_id")
    _failure_effect = "No run was started. Runs that start from now on use the agent as it is now."
    _retry_effect = "compares the agent again and changes only what differs"

    def __init__(
        self,
        *,
        definition: Mapping[str, Any] | Location,
        agent_id: Text | None = None,
        unknown_nodes: options.UnknownNodes = "keep",
        dry_run: bool = False,
        durable: bool = True,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.definition = definition
        self.agent_id = agent_id
        self.unknown_nodes = unknown_nodes
        # BaseOperator has a method "dry_run".
        self._dry_run = dry_run
        self.durable = durable
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants(dry_run=dry_run)

    def _validate_combinations(self) -> None:
        if isinstance(self.definition, Mapping):
            # The name may be a template: it is text too.
            options.validate_agent_is_named(self.agent_id, self.definition.get("name"))

    def execute(self, context: Context) -> str | None:
        """Update the agent."""
        from pathlib import Path

        from airflow_provider_mosaic.agents_as_code.apply import ApplyOptions
        from airflow_provider_mosaic.hooks.paths import read_definition
        from airflow_provider_mosaic.tasks.agents import apply

        with self._executing(context):
            apply_options = ApplyOptions.validated(
                read_definition(self.definition, directory=str(Path(context["dag"].fileloc or ".").parent)),
                agent_id=self.agent_id,
                unknown_nodes=self.unknown_nodes,
                dry_run=self._dry_run,
            )
            return apply(context, self._open_hook(), apply_options, durable=self.durable)
