"""A method for each endpoint: what it takes and gives is written where the endpoint is, in ``api``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mosaic.api import (
    account,
    agents,
    assets,
    avatars,
    billing,
    engagement,
    node_types,
    observability,
    runs,
    social,
    storage_watchers,
    triggers,
)
from airflow_provider_mosaic.hooks.sending import Sender, sends, walks

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.call import Call


def _with_node_ids(hook: Endpoints, call: Call[str]) -> Call[str]:
    from airflow_provider_mosaic.hooks.agents import with_node_ids

    return with_node_ids(hook, call)


class Endpoints(Sender):
    """Every documented endpoint, in verbs and nouns; lists are iterators that page by themselves."""

    # Account
    whoami = sends(account.whoami)

    # Agents as graphs, and node types
    list_agents = walks(agents.list_agents)
    get_agent = sends(agents.get_agent)
    get_agent_node = sends(agents.get_agent_node)
    create_agent = sends(agents.create_agent)
    update_agent = sends(agents.update_agent)
    delete_agent = sends(agents.delete_agent)
    duplicate_agent = sends(agents.duplicate_agent)
    list_node_types = sends(node_types.list_node_types)
    get_node_type = sends(node_types.get_node_type)

    # Runs
    run_agent = sends(runs.start_run, name="run_agent", prepare=_with_node_ids)
    get_run = sends(runs.get_run)
    get_run_nodes = sends(runs.get_run_nodes)
    list_runs = walks(runs.list_runs)
    cancel_run = sends(runs.cancel_run)
    resume_run = sends(runs.resume_run)
    list_trigger_runs = walks(observability.list_trigger_runs)
    list_workspace_runs = walks(observability.list_workspace_runs)
    list_pipeline_runs = walks(observability.list_pipeline_runs)

    def get_run_progress(self, run_id: str) -> observability.RunProgress:
        """:func:`airflow_provider_mosaic.api.observability.get_run_progress`, with the tiles of all pages."""
        return observability.read_run_progress(self.send, run_id)

    list_run_tasks = walks(observability.list_run_tasks)
    list_run_notifications = walks(observability.list_run_notifications)
    list_notification_configurations = walks(observability.list_notification_configurations)

    # Assets
    begin_upload = sends(assets.begin_upload)
    finalize_upload = sends(assets.finalize_upload)
    get_view_url = sends(assets.get_view_url)

    # Avatar profiles
    create_avatar_profile = sends(avatars.create_avatar_profile)
    get_avatar_profile = sends(avatars.get_avatar_profile)
    list_avatar_profiles = sends(avatars.list_avatar_profiles)

    # YouTube triggers
    list_triggers = sends(triggers.list_triggers)
    add_youtube_channels = sends(triggers.add_youtube_channels)
    remove_youtube_channels = sends(triggers.remove_youtube_channels)

    # Storage watchers
    list_storage_triggers = walks(storage_watchers.list_storage_triggers)
    list_watched_folders = walks(storage_watchers.list_watched_folders)
    list_storage_events = walks(storage_watchers.list_storage_events)
    list_storage_batches = walks(storage_watchers.list_storage_batches)
    list_batch_items = walks(storage_watchers.list_batch_items)
    list_ingest_batches = walks(storage_watchers.list_ingest_batches)

    # Social accounts and posts
    list_social_connections = sends(social.list_social_connections)
    get_social_connection = sends(social.get_social_connection)
    create_connect_link = sends(social.create_connect_link)
    delete_social_connection = sends(social.delete_social_connection)
    create_post = sends(social.create_post)
    get_post = sends(social.get_post)
    list_posts = walks(social.list_posts)
    update_post = sends(social.update_post)
    delete_post = sends(social.delete_post)

    # Engagement
    get_post_analytics = sends(engagement.get_post_analytics)
    list_post_comments = walks(engagement.list_post_comments)

    # Credits and plan
    get_credits = sends(billing.get_credits)
    get_credits_usage = sends(billing.get_credits_usage)
    set_auto_topup = sends(billing.set_auto_topup)
    get_plan = sends(billing.get_plan)
    list_plans = sends(billing.list_plans)
    upgrade_plan = sends(billing.upgrade_plan)
