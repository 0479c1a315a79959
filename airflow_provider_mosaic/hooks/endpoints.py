"""A method for each endpoint: what it takes and gives is written where the endpoint is, in ``api``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from airflow_provider_mosaic.api import (
    account,
    agents,
    assets,
    avatars,
    billing,
    engagement,
    node_types,
    runs,
    social,
    triggers,
)
from airflow_provider_mosaic.hooks.observation import Observation


class Endpoints(Observation):
    """Every documented endpoint, in verbs and nouns; lists are iterators that page by themselves."""

    # Account

    def whoami(self) -> account.Whoami:
        """:func:`airflow_provider_mosaic.api.account.whoami`."""
        return self.send(account.whoami())

    # Agents and node types

    def list_agents(self) -> Iterator[agents.Agent]:
        """:func:`airflow_provider_mosaic.api.agents.list_agents`."""
        return self.iterate(agents.list_agents())

    def get_agent(self, agent_id: str) -> agents.AgentGraph:
        """:func:`airflow_provider_mosaic.api.agents.get_agent`."""
        return self.send(agents.get_agent(agent_id))

    def list_node_types(self) -> tuple[node_types.NodeType, ...]:
        """:func:`airflow_provider_mosaic.api.node_types.list_node_types`."""
        return self.send(node_types.list_node_types())

    def get_node_type(self, node_type_id: str) -> node_types.NodeType:
        """:func:`airflow_provider_mosaic.api.node_types.get_node_type`."""
        return self.send(node_types.get_node_type(node_type_id))

    # Runs

    def run_agent(self, agent_id: str, **inputs: Any) -> str:
        """
        Start a run and return its id: :func:`airflow_provider_mosaic.api.runs.start_run`. **It costs credits.**

        :raises MosaicAmbiguousOutcomeError: Whether a run was started is unknown; look with :meth:`list_runs`.
        """
        from airflow_provider_mosaic.hooks.agents import with_node_ids

        return self.send(with_node_ids(self, runs.start_run(agent_id, **inputs)))

    def get_run(self, run_id: str) -> runs.Run:
        """:func:`airflow_provider_mosaic.api.runs.get_run`."""
        return self.send(runs.get_run(run_id))

    def get_run_nodes(self, run_id: str) -> tuple[runs.RunNode, ...]:
        """:func:`airflow_provider_mosaic.api.runs.get_run_nodes`."""
        return self.send(runs.get_run_nodes(run_id))

    def list_runs(
        self,
        agent_id: str | None = None,
        *,
        status: Iterable[str] | str | None = None,
        created_from: datetime | str | None = None,
        created_to: datetime | str | None = None,
    ) -> Iterator[runs.Run]:
        """:func:`airflow_provider_mosaic.api.runs.list_runs`."""
        return self.iterate(runs.list_runs(agent_id, status=status, created_from=created_from, created_to=created_to))

    def cancel_run(self, run_id: str) -> runs.Cancelled:
        """:func:`airflow_provider_mosaic.api.runs.cancel_run`."""
        return self.send(runs.cancel_run(run_id))

    def resume_run(self, run_id: str) -> runs.Resumed:
        """:func:`airflow_provider_mosaic.api.runs.resume_run`. **What is done again costs credits.**"""
        return self.send(runs.resume_run(run_id))

    # Assets

    def begin_upload(self, asset_type: str) -> assets.UploadForm:
        """:func:`airflow_provider_mosaic.api.assets.begin_upload`."""
        return self.send(assets.begin_upload(assets.checked_asset_type(asset_type)))

    def finalize_upload(self, asset_type: str, asset_id: str) -> str:
        """:func:`airflow_provider_mosaic.api.assets.finalize_upload`."""
        return self.send(assets.finalize_upload(assets.checked_asset_type(asset_type), asset_id))

    def get_view_url(self, asset_type: str, asset_id: str) -> assets.ViewLink:
        """:func:`airflow_provider_mosaic.api.assets.get_view_url`."""
        return self.send(assets.get_view_url(assets.checked_asset_type(asset_type), asset_id))

    # Social

    def list_social_connections(self) -> tuple[social.SocialConnection, ...]:
        """:func:`airflow_provider_mosaic.api.social.list_social_connections`."""
        return self.send(social.list_social_connections())

    def get_social_connection(self, social_connection_id: str) -> social.SocialConnection:
        """:func:`airflow_provider_mosaic.api.social.get_social_connection`."""
        return self.send(social.get_social_connection(social_connection_id))

    def create_post(self, text: str, **options: Any) -> social.Post:
        """
        Publish or schedule a post: :func:`airflow_provider_mosaic.api.social.create_post`. **It is public.**

        :raises MosaicAmbiguousOutcomeError: Whether it was made is unknown; look with :meth:`list_posts`.
        """
        return self.send(social.create_post(text, **options))

    def get_post(self, post_id: str, *, social_connection_id: str | None = None) -> social.Post:
        """:func:`airflow_provider_mosaic.api.social.get_post`."""
        return self.send(social.get_post(post_id, social_connection_id=social_connection_id))

    def list_posts(
        self, *, status: str | None = None, platform: str | None = None, social_connection_id: str | None = None
    ) -> Iterator[social.Post]:
        """:func:`airflow_provider_mosaic.api.social.list_posts`."""
        return self.iterate(
            social.list_posts(status=status, platform=platform, social_connection_id=social_connection_id)
        )

    # Agents as graphs

    def get_agent_node(self, agent_node_id: str) -> agents.AgentNode:
        """:func:`airflow_provider_mosaic.api.agents.get_agent_node`."""
        return self.send(agents.get_agent_node(agent_node_id))

    def create_agent(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        visibility: str | None = None,
        workspace_id: str | None = None,
    ) -> agents.AgentChange:
        """:func:`airflow_provider_mosaic.api.agents.create_agent`."""
        return self.send(
            agents.create_agent(name=name, description=description, visibility=visibility, workspace_id=workspace_id)
        )

    def update_agent(
        self,
        agent_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        visibility: str | None = None,
        operations: Iterable[Mapping[str, Any]] | None = None,
    ) -> agents.AgentChange:
        """:func:`airflow_provider_mosaic.api.agents.update_agent`."""
        return self.send(
            agents.update_agent(
                agent_id, name=name, description=description, visibility=visibility, operations=operations
            )
        )

    def delete_agent(self, agent_id: str) -> None:
        """:func:`airflow_provider_mosaic.api.agents.delete_agent`."""
        self.send(agents.delete_agent(agent_id))

    def duplicate_agent(
        self, agent_id: str, *, name: str | None = None, description: str | None = None, visibility: str | None = None
    ) -> agents.AgentGraph:
        """:func:`airflow_provider_mosaic.api.agents.duplicate_agent`."""
        return self.send(agents.duplicate_agent(agent_id, name=name, description=description, visibility=visibility))

    # Avatar profiles

    def create_avatar_profile(
        self,
        name: str,
        *,
        video_url: str | None = None,
        image_url: str | None = None,
        audio_url: str | None = None,
        video_id: str | None = None,
        image_id: str | None = None,
        audio_id: str | None = None,
    ) -> avatars.AvatarProfile:
        """:func:`airflow_provider_mosaic.api.avatars.create_avatar_profile`."""
        return self.send(
            avatars.create_avatar_profile(
                name,
                video_url=video_url,
                image_url=image_url,
                audio_url=audio_url,
                video_id=video_id,
                image_id=image_id,
                audio_id=audio_id,
            )
        )

    def get_avatar_profile(self, avatar_profile_id: str) -> avatars.AvatarProfile:
        """:func:`airflow_provider_mosaic.api.avatars.get_avatar_profile`."""
        return self.send(avatars.get_avatar_profile(avatar_profile_id))

    def list_avatar_profiles(self) -> tuple[avatars.AvatarProfile, ...]:
        """:func:`airflow_provider_mosaic.api.avatars.list_avatar_profiles`."""
        return self.send(avatars.list_avatar_profiles())

    # YouTube triggers

    def list_triggers(self, agent_id: str) -> tuple[triggers.YouTubeTrigger, ...]:
        """:func:`airflow_provider_mosaic.api.triggers.list_triggers`."""
        return self.send(triggers.list_triggers(agent_id))

    def add_youtube_channels(
        self,
        agent_id: str,
        youtube_channels: Iterable[str] | str,
        *,
        trigger_callback_url: str | Literal[triggers.Unchanged.UNCHANGED] | None = triggers.UNCHANGED,
        min_seconds: int | None = None,
        max_seconds: int | None = None,
    ) -> triggers.AddedChannels:
        """:func:`airflow_provider_mosaic.api.triggers.add_youtube_channels`."""
        return self.send(
            triggers.add_youtube_channels(
                agent_id,
                youtube_channels,
                trigger_callback_url=trigger_callback_url,
                min_seconds=min_seconds,
                max_seconds=max_seconds,
            )
        )

    def remove_youtube_channels(self, agent_id: str, youtube_channels: Iterable[str] | str) -> None:
        """:func:`airflow_provider_mosaic.api.triggers.remove_youtube_channels`."""
        self.send(triggers.remove_youtube_channels(agent_id, youtube_channels))

    # Social accounts and posts

    def create_connect_link(
        self, platform: str, *, connection_name: str | None = None, redirect_url: str | None = None
    ) -> social.ConnectLink:
        """:func:`airflow_provider_mosaic.api.social.create_connect_link`."""
        return self.send(
            social.create_connect_link(platform, connection_name=connection_name, redirect_url=redirect_url)
        )

    def delete_social_connection(self, social_connection_id: str) -> None:
        """:func:`airflow_provider_mosaic.api.social.delete_social_connection`."""
        self.send(social.delete_social_connection(social_connection_id))

    def update_post(
        self,
        post_id: str,
        *,
        schedule_date: datetime | str | None = None,
        approve: bool | None = None,
        disable_comments: bool | None = None,
        platform_options: Mapping[str, Any] | None = None,
        social_connection_id: str | None = None,
    ) -> social.Post:
        """:func:`airflow_provider_mosaic.api.social.update_post`."""
        return self.send(
            social.update_post(
                post_id,
                schedule_date=schedule_date,
                approve=approve,
                disable_comments=disable_comments,
                platform_options=platform_options,
                social_connection_id=social_connection_id,
            )
        )

    def delete_post(self, post_id: str, *, social_connection_id: str | None = None) -> None:
        """:func:`airflow_provider_mosaic.api.social.delete_post`."""
        self.send(social.delete_post(post_id, social_connection_id=social_connection_id))

    # Engagement

    def get_post_analytics(self, post_id: str, *, social_connection_id: str | None = None) -> engagement.PostAnalytics:
        """:func:`airflow_provider_mosaic.api.engagement.get_post_analytics`."""
        return self.send(engagement.get_post_analytics(post_id, social_connection_id=social_connection_id))

    def list_post_comments(
        self, post_id: str, *, social_connection_id: str | None = None
    ) -> Iterator[engagement.Comment]:
        """:func:`airflow_provider_mosaic.api.engagement.list_post_comments`."""
        return self.iterate(engagement.list_post_comments(post_id, social_connection_id=social_connection_id))

    # Credits and plan

    def get_credits(self) -> billing.Credits:
        """:func:`airflow_provider_mosaic.api.billing.get_credits`."""
        return self.send(billing.get_credits())

    def get_credits_usage(
        self,
        *,
        start_date: datetime | str | None = None,
        end_date: datetime | str | None = None,
        limit: int | None = None,
    ) -> billing.CreditUsage:
        """:func:`airflow_provider_mosaic.api.billing.get_credits_usage`."""
        return self.send(billing.get_credits_usage(start_date=start_date, end_date=end_date, limit=limit))

    def set_auto_topup(self, *, enabled: bool, threshold: float = 0, quantity: float = 0) -> billing.AutoTopup:
        """:func:`airflow_provider_mosaic.api.billing.set_auto_topup`."""
        return self.send(billing.set_auto_topup(enabled=enabled, threshold=threshold, quantity=quantity))

    def get_plan(self) -> billing.Plan:
        """:func:`airflow_provider_mosaic.api.billing.get_plan`."""
        return self.send(billing.get_plan())

    def list_plans(self) -> tuple[billing.PlanOffer, ...]:
        """:func:`airflow_provider_mosaic.api.billing.list_plans`."""
        return self.send(billing.list_plans())

    def upgrade_plan(
        self, plan_id: str, *, success_url: str | None = None, cancel_url: str | None = None
    ) -> billing.PlanChange:
        """:func:`airflow_provider_mosaic.api.billing.upgrade_plan`."""
        return self.send(billing.upgrade_plan(plan_id, success_url=success_url, cancel_url=cancel_url))
