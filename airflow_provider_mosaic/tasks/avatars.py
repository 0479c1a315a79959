"""Create an avatar profile once, over lost responses and retries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_mosaic.api.arguments import validate_flag
from airflow_provider_mosaic.api.endpoints.avatars import create_avatar_profile
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicError
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.api.text_match import Match, match_name
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.failures import Consequences
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import StartRecord
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.reporting import AVATAR_PROFILE_ID_KEY, push_xcom

log = logging.getLogger(__name__)


class CreateAvatarProfile(CreateOnce):
    """
    The creation of a profile, for ``MosaicCreateAvatarProfileOperator``.

    :param name: The name of the profile. A search finds the profile by it.
    :param sources: The other arguments of :func:`create_avatar_profile`.
    :param durable: Whether a retry continues with the profile of an earlier attempt.
    """

    advice = "Check the avatar profiles in Mosaic."

    def __init__(
        self, context: Mapping[str, Any], hook: MosaicHook, *, name: Any, sources: Mapping[str, Any], durable: Any
    ) -> None:
        self._call = create_avatar_profile(name, **sources)
        super().__init__(
            context,
            kind="avatar_profile",
            request=self._call.body,
            durable=validate_flag("durable", durable),
            description=f"avatar profile {name!r}",
        )
        self._hook = hook
        self._name = name

    def consequences(self, error: MosaicError) -> Consequences:
        """Return what an error of the task means."""
        return Consequences(
            means="This attempt created no avatar profile.",
            retry="creates the profile, unless it finds one of an earlier attempt"
            if self._durable
            else "creates the profile and does not search for an earlier one, because durable=False",
            choices=()
            if isinstance(error, MosaicAmbiguousOutcomeError)
            else ("Clear this task to create the profile.",),
        )

    def send(self) -> str:
        """Create the profile and return its id."""
        profile = self._hook.send(self._call)
        log.info("Created avatar profile %r, which is %s.", profile.id, profile.status)
        return profile.id

    def snapshot_existing(self, record: StartRecord) -> StartRecord:
        """Add the profiles that may have this name."""
        return replace(record, existing_ids=tuple(profile.id for profile in self._of_this_name()))

    def find_candidates(self, record: StartRecord) -> list[Candidate]:
        """Return the profiles that may have this name and did not exist before."""
        if record.existing_ids is None:
            # The profiles are of any age: one with a similar name is most likely another one.
            return [profile for profile in self._of_this_name() if not profile.is_partial_match]
        return [profile for profile in self._of_this_name() if profile.id not in record.existing_ids]

    def siblings(self) -> SiblingTasks:
        """Return the tasks that create profiles."""
        return SiblingTasks(self._context, kind="avatar_profile", key=AVATAR_PROFILE_ID_KEY)

    def can_continue(self, record: StartRecord) -> bool:
        """Continue with any profile: it is not created again."""
        log.info("Continuing with avatar profile %r of an earlier attempt.", record.id)
        return True

    def on_started(self, id: str) -> None:
        """Push the id."""
        push_xcom(self._context, AVATAR_PROFILE_ID_KEY, id, name=f"avatar profile {id!r}")

    def on_replaced(self, id: str) -> None:
        """Withdraw the id of the profile with other arguments."""
        push_xcom(self._context, AVATAR_PROFILE_ID_KEY, None, name=f"avatar profile {id!r}")

    def validate_adopted(self, id: str) -> None:
        """Raise if there is no such profile."""
        self._hook.get_avatar_profile(id)

    def _of_this_name(self) -> list[Candidate]:
        return [
            Candidate(id=profile.id, status=profile.status, is_partial_match=match is Match.PARTIAL)
            for profile in self._hook.list_avatar_profiles()
            # A row without a name may be any profile.
            if (match := match_name(profile.name, self._name)) is not Match.NONE
        ]
