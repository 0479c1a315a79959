"""The life of a task that makes an avatar profile: once, over lost answers and retries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import validate_flag
from airflow_provider_mosaic.api.endpoints.avatars import create_avatar_profile
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicError
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.durable.create_once import CreateOnce
from airflow_provider_mosaic.durable.failures import Consequences
from airflow_provider_mosaic.durable.siblings import SiblingTasks
from airflow_provider_mosaic.durable.task_state import ExistingItems, StartRecord, TaskState
from airflow_provider_mosaic.durable.xcoms import push_xcom
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: XCom key under which a task pushes the id of its profile, at once after it was made.
AVATAR_PROFILE_ID_KEY = "mosaic_avatar_profile_id"


class AvatarTask:
    """
    One slice of the task on a worker.

    :param hook: The connection.
    :param name: The name of the profile, by which a lost one is found again.
    :param sources: What it is made of, by the names of the arguments of :func:`create_avatar_profile`.
    :param durable: Whether a retry goes on with the profile of an earlier try.
    :param operator_class: The class of tasks that make profiles.
    """

    def __init__(
        self,
        hook: MosaicHook,
        *,
        name: Any,
        sources: Mapping[str, Any],
        durable: Any,
        operator_class: type[Any],
    ) -> None:
        self._hook = hook
        self._name = name
        self._call = create_avatar_profile(name, **sources)
        self._durable = validate_flag("durable", durable)
        self._operator_class = operator_class

    def stakes(self, error: MosaicError) -> Consequences:
        """
        Return what a failure of the task means.

        :param error: What happened.
        """
        return Consequences(
            means="No avatar profile was made by this try.",
            retry="makes the profile, unless it finds one that an earlier try has made",
            choices=() if isinstance(error, MosaicAmbiguousOutcomeError) else ("Clear this task to make the profile.",),
        )

    def create(self, context: Mapping[str, Any]) -> str:
        """
        Make the profile, or go on with an earlier try's.

        :param context: The task's context.
        :returns: The profile's id.
        """
        memory = TaskState(context, kind="avatar_profile", request=self._call.body, durable=self._durable)
        return str(self._create_once(context, memory).ensure().id)

    def _can_continue(self, record: StartRecord) -> bool:
        log.info("An earlier try has made avatar profile %r: it is not made again.", record.id)
        return True

    def _create_once(self, context: Mapping[str, Any], memory: TaskState) -> CreateOnce:
        def begin() -> str:
            profile = self._hook.send(self._call)
            log.info("Made avatar profile %r, which is %s.", profile.id, profile.status)
            return profile.id

        def named() -> list[Candidate]:
            return [
                Candidate(id=profile.id, status=profile.status)
                for profile in self._hook.list_avatar_profiles()
                # What a row does not show can't speak against it.
                if profile.name is None or profile.name.split() == self._name.split()
            ]

        def present(began: float) -> ExistingItems | None:
            try:
                return ExistingItems(ids=tuple(profile.id for profile in named()))
            except MosaicError as error:
                log.info("The avatar profiles that are there before this one are not known: %s", error)
                return None

        return CreateOnce(
            description=f"avatar profile {self._name!r}",
            memory=memory,
            send=begin,
            snapshot_existing=present,
            find_candidates=lambda record: _not_before(record, named()),
            siblings=SiblingTasks(context, key=AVATAR_PROFILE_ID_KEY, operator_class=self._operator_class).read,
            adopt=True,
            timeout=None,
            advice="Look at the avatar profiles in Mosaic.",
            can_continue=self._can_continue,
            on_started=lambda profile_id: push_xcom(
                context, AVATAR_PROFILE_ID_KEY, profile_id, subject=f"avatar profile {profile_id!r}"
            ),
            validate_adopted=lambda profile_id: self._hook.get_avatar_profile(profile_id),
        )


def _not_before(record: StartRecord, candidates: list[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.id not in (record.existing_ids or ())]
