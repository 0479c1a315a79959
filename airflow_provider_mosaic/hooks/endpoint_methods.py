"""
The endpoints as methods of the hook.

Each method has the arguments, the docstring and the result of its function in
:mod:`airflow_provider_mosaic.api.endpoints`.

.. code-block:: python

    class EndpointMethods(ApiClient):
        get_run = endpoint(lambda: endpoints.runs.get_run)  # hook.get_run(run_id) returns a Run
        list_runs = paginated(lambda: endpoints.runs.list_runs)  # hook.list_runs(...) returns an iterator of Runs

A method is made when it is first used: a task uses few of the endpoints, and does not import the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from airflow_provider_mosaic.api import endpoints
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.paging import ApiClient, Listing
from airflow_provider_mosaic.api.run_inputs import has_names

P = ParamSpec("P")
T = TypeVar("T")


def endpoint(
    load: Callable[[], Callable[P, Call[T]]],
    *,
    prepare: Callable[[Any, Call[T]], Call[T]] = lambda client, call: call,
) -> Callable[Concatenate[ApiClient, P], T]:
    """
    Return a method that sends the call of an endpoint.

    :param load: Returns the endpoint's function.
    :param prepare: Called with the client and the call. Returns the call to send.
    """

    def make(function: Callable[P, Call[T]]) -> Callable[..., T]:
        def method(self: ApiClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return self.send(prepare(self, function(*args, **kwargs)))

        return method

    return cast("Callable[Concatenate[ApiClient, P], T]", _LazyMethod(load, make, returns="{}"))


def paginated(load: Callable[[], Callable[P, Listing[T]]]) -> Callable[Concatenate[ApiClient, P], Iterator[T]]:
    """Return a method that iterates over the list of an endpoint, page by page."""

    def make(function: Callable[P, Listing[T]]) -> Callable[..., Iterator[T]]:
        def method(self: ApiClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            return self.iterate(function(*args, **kwargs))

        return method

    return cast("Callable[Concatenate[ApiClient, P], Iterator[T]]", _LazyMethod(load, make, returns="Iterator[{}]"))


class _LazyMethod:
    """Replaces itself in its class by the method when that is first used."""

    def __init__(self, load: Callable[[], Any], make: Callable[[Any], Any], *, returns: str) -> None:
        self._load = load
        self._make = make
        self._returns = returns

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        function = self._load()
        method = self._make(function)
        method.__name__ = method.__qualname__ = self._name
        _describe(method, function, self._returns)
        setattr(self._owner, self._name, method)
        # Not getattr(instance, ...): it would find the override that calls super().
        return method.__get__(instance, owner)


def _describe(method: Any, function: Callable[..., Any], returns: str) -> None:
    """Give a method the docstring and signature of its endpoint, for ``help()``."""
    signature = inspect.signature(function)
    # Annotations are text, ``Call[...]`` or ``Listing[...]``.
    result = signature.return_annotation.partition("[")[2].removesuffix("]")
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__doc__ = function.__doc__
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
    graph = client.send(endpoints.agents.get_agent(call.ids["agent_id"]))
    return replace(call, body={**call.body, "update_params": endpoints.agents.by_node_id(params, graph)})


class EndpointMethods(ApiClient):
    """Every documented endpoint as a method. A method for a list with pages returns an iterator over all items."""

    # Account
    whoami = endpoint(lambda: endpoints.account.whoami)

    # Agents as graphs, and node types
    list_agents = paginated(lambda: endpoints.agents.list_agents)
    get_agent = endpoint(lambda: endpoints.agents.get_agent)
    get_agent_node = endpoint(lambda: endpoints.agents.get_agent_node)
    create_agent = endpoint(lambda: endpoints.agents.create_agent)
    update_agent = endpoint(lambda: endpoints.agents.update_agent)
    delete_agent = endpoint(lambda: endpoints.agents.delete_agent)
    duplicate_agent = endpoint(lambda: endpoints.agents.duplicate_agent)
    list_node_types = endpoint(lambda: endpoints.agents.list_node_types)
    get_node_type = endpoint(lambda: endpoints.agents.get_node_type)

    # Runs
    run_agent = endpoint(lambda: endpoints.runs.start_run, prepare=with_node_ids)
    get_run = endpoint(lambda: endpoints.runs.get_run)
    get_run_nodes = endpoint(lambda: endpoints.runs.get_run_nodes)
    list_runs = paginated(lambda: endpoints.runs.list_runs)
    cancel_run = endpoint(lambda: endpoints.runs.cancel_run)
    resume_run = endpoint(lambda: endpoints.runs.resume_run)
    list_trigger_runs = paginated(lambda: endpoints.observability.list_trigger_runs)
    list_workspace_runs = paginated(lambda: endpoints.observability.list_workspace_runs)
    list_pipeline_runs = paginated(lambda: endpoints.observability.list_pipeline_runs)

    def get_run_progress(self, run_id: str) -> endpoints.observability.RunProgress:
        """Return the progress of a run with the tiles of all pages."""
        return endpoints.observability.read_run_progress(self.send, run_id)

    list_run_tasks = paginated(lambda: endpoints.observability.list_run_tasks)
    list_run_notifications = paginated(lambda: endpoints.observability.list_run_notifications)
    list_notification_configurations = paginated(lambda: endpoints.observability.list_notification_configurations)

    # Assets
    start_upload = endpoint(lambda: endpoints.assets.start_upload)
    finalize_upload = endpoint(lambda: endpoints.assets.finalize_upload)
    get_view_url = endpoint(lambda: endpoints.assets.get_view_url)

    # Avatar profiles
    create_avatar_profile = endpoint(lambda: endpoints.avatars.create_avatar_profile)
    get_avatar_profile = endpoint(lambda: endpoints.avatars.get_avatar_profile)
    list_avatar_profiles = endpoint(lambda: endpoints.avatars.list_avatar_profiles)

    # YouTube triggers
    list_triggers = endpoint(lambda: endpoints.triggers.list_triggers)
    add_youtube_channels = endpoint(lambda: endpoints.triggers.add_youtube_channels)
    remove_youtube_channels = endpoint(lambda: endpoints.triggers.remove_youtube_channels)

    # Storage watchers
    list_storage_triggers = paginated(lambda: endpoints.storage_watchers.list_storage_triggers)
    list_watched_folders = paginated(lambda: endpoints.storage_watchers.list_watched_folders)
    list_storage_events = paginated(lambda: endpoints.storage_watchers.list_storage_events)
    list_storage_batches = paginated(lambda: endpoints.storage_watchers.list_storage_batches)
    list_batch_items = paginated(lambda: endpoints.storage_watchers.list_batch_items)
    list_ingest_batches = paginated(lambda: endpoints.storage_watchers.list_ingest_batches)

    # Social accounts and posts
    list_social_connections = endpoint(lambda: endpoints.social_connections.list_social_connections)
    get_social_connection = endpoint(lambda: endpoints.social_connections.get_social_connection)
    create_connect_link = endpoint(lambda: endpoints.social_connections.create_connect_link)
    delete_social_connection = endpoint(lambda: endpoints.social_connections.delete_social_connection)
    create_post = endpoint(lambda: endpoints.posts.create_post)
    get_post = endpoint(lambda: endpoints.posts.get_post)
    list_posts = paginated(lambda: endpoints.posts.list_posts)
    update_post = endpoint(lambda: endpoints.posts.update_post)
    delete_post = endpoint(lambda: endpoints.posts.delete_post)

    # Engagement
    get_post_analytics = endpoint(lambda: endpoints.engagement.get_post_analytics)
    list_post_comments = paginated(lambda: endpoints.engagement.list_post_comments)

    # Credits and plan
    get_credits = endpoint(lambda: endpoints.billing.get_credits)
    get_credits_usage = endpoint(lambda: endpoints.billing.get_credits_usage)
    set_auto_topup = endpoint(lambda: endpoints.billing.set_auto_topup)
    get_plan = endpoint(lambda: endpoints.billing.get_plan)
    list_plans = endpoint(lambda: endpoints.billing.list_plans)
    upgrade_plan = endpoint(lambda: endpoints.billing.upgrade_plan)
