"""Agents as code: make agents what their definitions say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.links import MosaicAgentLink
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.templated import Location, Text


class MosaicApplyAgentOperator(MosaicOperator):
    """
    Make an agent what its definition says, with the fewest operations (https://docs.mosaic.so/api/agents/post-agent-update).

    The agent is read and compared, what differs is changed in one update, and it is read again: the log shows the
    difference, and a failure says what has taken effect and what has not. Where nothing differs, nothing is sent. The
    form of a definition, and how its nodes are found again, is on the page "Agents as code".

    Without an ``agent_id`` the definition's name says which agent is meant; if none has it, it is made, once. When the
    answer is lost, the list of agents is looked through for that name before anything is sent again.

    XCom: ``mosaic_agent_id``; ``operations``, how many there were; ``node_ids``, the ids of the agent's nodes by the
    keys of the definition; ``mosaic_agent_url``, the address of its page, where the connection leads to Mosaic itself;
    the agent's id as ``return_value``.

    :param definition: The definition: an object, or the path of a YAML or JSON file, which is taken as it is, without
        templates. A relative path begins at the folder of the DAG file, which may be in a zip with it; a URI of object
        storage will do as well.
    :param agent_id: The agent. None for the one that has the definition's name.
    :param unknown_nodes: What becomes of nodes that the definition does not have, be it that a person added them or
        that they were in an earlier definition: ``keep`` them with their connections, or ``remove`` them.
    :param dry_run: Whether the difference is only shown.
    :param durable: Whether a retry looks for an agent that an earlier try may have made and the list does not show yet.
    :param mosaic_conn_id: The connection.
    """

    template_fields: Sequence[str] = ("definition", "agent_id", "mosaic_conn_id")
    template_fields_renderers = {"definition": "json"}
    _options = options.APPLY_AGENT
    _row_label_arguments = ("definition", "agent_id")
    operator_extra_links = (MosaicAgentLink(),)
    _effect_words = "No run was started. What the agent is now is used by every run that starts from now on."
    _retry = "compares the agent again and changes only what differs"

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
        # BaseOperator has a method of the plain name.
        self._dry_run = dry_run
        self.durable = durable
        self.mosaic_conn_id = mosaic_conn_id
        self._validate_constants(dry_run=dry_run)

    def _validate_together(self) -> None:
        if isinstance(self.definition, Mapping):
            # The name may be a template, which has text in it.
            options.validate_agent_is_named(self.agent_id, self.definition.get("name"))

    def execute(self, context: Context) -> str | None:
        """
        Make it so.

        :param context: The task's context.
        """
        from pathlib import Path

        from airflow_provider_mosaic.agents_as_code.apply import ApplyOptions
        from airflow_provider_mosaic.hooks.mosaic import MosaicHook
        from airflow_provider_mosaic.hooks.paths import read_definition
        from airflow_provider_mosaic.tasks.agents import ApplyTask

        with self._validated_arguments(context):
            order = ApplyOptions.validated(
                read_definition(self.definition, directory=str(Path(context["dag"].fileloc or ".").parent)),
                agent_id=self.agent_id,
                unknown_nodes=self.unknown_nodes,
                dry_run=self._dry_run,
            )
            return ApplyTask(MosaicHook(self.mosaic_conn_id), order, durable=self.durable).apply(context)
