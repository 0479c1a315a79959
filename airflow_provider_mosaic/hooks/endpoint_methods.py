"""
The endpoints as methods of the hook.

Each method has the arguments, the docstring and the result of its function in
:mod:`airflow_provider_mosaic.api.endpoints`.

.. code-block:: python

    class EndpointMethods(ApiClient):
        get_run = endpoint(runs.get_run)  # hook.get_run(run_id) returns a Run
        list_runs = paginated(runs.list_runs)  # hook.list_runs(...) returns an iterator of Runs
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints import (
    account,
    agents,
    assets,
    avatars,
    billing,
    engagement,
    observability,
    runs,
    social,
    storage_watchers,
    triggers,
)
from airflow_provider_mosaic.api.paging import ApiClient, Listing
from airflow_provider_mosaic.api.run_inputs import has_names

P = ParamSpec("P")
T = TypeVar("T")


def endpoint(
    endpoint: Callable[P, Call[T]],
    *,
    name: str | None = None,
    prepare: Callable[[Any, Call[T]], Call[T]] = lambda client, call: call,
) -> Callable[Concatenate[ApiClient, P], T]:
    """
    Return a method that sends the call of an endpoint.

    :param endpoint: The endpoint's function.
    :param name: The method's name. Default: the function's.
    :param prepare: Called with the client and the call. Returns the call to send.
    """

    def method(self: ApiClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(prepare(self, endpoint(*args, **kwargs)))

    _copy_signature(method, endpoint, returns="{}")
    method.__name__ = method.__qualname__ = name or endpoint.__name__
    return method


def paginated(endpoint: Callable[P, Listing[T]]) -> Callable[Concatenate[ApiClient, P], Iterator[T]]:
    """Return a method that iterates over the list of an endpoint, page by page."""

    def method(self: ApiClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.iterate(endpoint(*args, **kwargs))

    _copy_signature(method, endpoint, returns="Iterator[{}]")
    return method


def _copy_signature(method: Any, endpoint: Callable[..., Any], *, returns: str) -> None:
    """Give a method the name, docstring and signature of its endpoint, for ``help()`` and tracebacks."""
    signature = inspect.signature(endpoint)
    # Annotations are text, ``Call[...]`` or ``Listing[...]``.
    result = signature.return_annotation.partition("[")[2].removesuffix("]")
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__name__ = method.__qualname__ = endpoint.__name__
    method.__doc__ = endpoint.__doc__
    method.__signature__ = signature.replace(
        parameters=[self_parameter, *signature.parameters.values()], return_annotation=returns.format(result)
    )


def with_node_ids(client: ApiClient, call: Call[str]) -> Call[str]:
    """
    Replace tile names in the start of a run by node ids. The agent is read only if there are names.

    :param client: The client that reads the agent.
    :param call: The call of :func:`~airflow_provider_mosaic.api.endpoints.runs.start_run`.
    :raises MosaicValidationError: No tile, or more than one, has a name.
    """
    params: Mapping[str, Any] = call.body.get("update_params", {})
    if not has_names(params):
        return call
    graph = client.send(agents.get_agent(call.ids["agent_id"]))
    return replace(call, body={**call.body, "update_params": agents.by_node_id(params, graph)})


class EndpointMethods(ApiClient):
    """Every documented endpoint as a method. A method for a list with pages returns an iterator over all items."""

    # Account
    whoami = endpoint(account.whoami)

    # Agents as graphs, and node types
    list_agents = paginated(agents.list_agents)
    get_agent = endpoint(agents.get_agent)
    get_agent_node = endpoint(agents.get_agent_node)
    create_agent = endpoint(agents.create_agent)
    update_agent = endpoint(agents.update_agent)
    delete_agent = endpoint(agents.delete_agent)
    duplicate_agent = endpoint(agents.duplicate_agent)
    list_node_types = endpoint(agents.list_node_types)
    get_node_type = endpoint(agents.get_node_type)

    # Runs
    run_agent = endpoint(runs.start_run, name="run_agent", prepare=with_node_ids)
    get_run = endpoint(runs.get_run)
    get_run_nodes = endpoint(runs.get_run_nodes)
    list_runs = paginated(runs.list_runs)
    cancel_run = endpoint(runs.cancel_run)
    resume_run = endpoint(runs.resume_run)
    list_trigger_runs = paginated(observability.list_trigger_runs)
    list_workspace_runs = paginated(observability.list_workspace_runs)
    list_pipeline_runs = paginated(observability.list_pipeline_runs)

    def get_run_progress(self, run_id: str) -> observability.RunProgress:
        """Return the progress of a run with the tiles of all pages."""
        return observability.read_run_progress(self.send, run_id)

    list_run_tasks = paginated(observability.list_run_tasks)
    list_run_notifications = paginated(observability.list_run_notifications)
    list_notification_configurations = paginated(observability.list_notification_configurations)

    # Assets
    start_upload = endpoint(assets.start_upload)
    finalize_upload = endpoint(assets.finalize_upload)
    get_view_url = endpoint(assets.get_view_url)

    # Avatar profiles
    create_avatar_profile = endpoint(avatars.create_avatar_profile)
    get_avatar_profile = endpoint(avatars.get_avatar_profile)
    list_avatar_profiles = endpoint(avatars.list_avatar_profiles)

    # YouTube triggers
    list_triggers = endpoint(triggers.list_triggers)
    add_youtube_channels = endpoint(triggers.add_youtube_channels)
    remove_youtube_channels = endpoint(triggers.remove_youtube_channels)

    # Storage watchers
    list_storage_triggers = paginated(storage_watchers.list_storage_triggers)
    list_watched_folders = paginated(storage_watchers.list_watched_folders)
    list_storage_events = paginated(storage_watchers.list_storage_events)
    list_storage_batches = paginated(storage_watchers.list_storage_batches)
    list_batch_items = paginated(storage_watchers.list_batch_items)
    list_ingest_batches = paginated(storage_watchers.list_ingest_batches)

    # Social accounts and posts
    list_social_connections = endpoint(social.list_social_connections)
    get_social_connection = endpoint(social.get_social_connection)
    create_connect_link = endpoint(social.create_connect_link)
    delete_social_connection = endpoint(social.delete_social_connection)
    create_post = endpoint(social.create_post)
    get_post = endpoint(social.get_post)
    list_posts = paginated(social.list_posts)
    update_post = endpoint(social.update_post)
    delete_post = endpoint(social.delete_post)

    # Engagement
    get_post_analytics = endpoint(engagement.get_post_analytics)
    list_post_comments = paginated(engagement.list_post_comments)

    # Credits and plan
    get_credits = endpoint(billing.get_credits)
    get_credits_usage = endpoint(billing.get_credits_usage)
    set_auto_topup = endpoint(billing.set_auto_topup)
    get_plan = endpoint(billing.get_plan)
    list_plans = endpoint(billing.list_plans)
    upgrade_plan = endpoint(billing.upgrade_plan)
