"""The life of a task that makes an avatar profile: once, over lost answers and retries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import checked_flag
from airflow_provider_mosaic.api.avatars import create_avatar_profile
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicError
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.bookkeeping import push_xcom
from airflow_provider_mosaic.tasks.failing import Stakes
from airflow_provider_mosaic.tasks.memory import Before, Record, TaskMemory
from airflow_provider_mosaic.tasks.once import Once
from airflow_provider_mosaic.tasks.siblings import SiblingTasks

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
        self._durable = checked_flag("durable", durable)
        self._operator_class = operator_class

    def stakes(self, error: MosaicError) -> Stakes:
        """
        Return what a failure of the task means.

        :param error: What happened.
        """
        return Stakes(
            means="No avatar profile was made by this try.",
            retry="makes the profile, unless it finds one that an earlier try has made",
            choices=() if isinstance(error, MosaicAmbiguousOutcomeError) else ("Clear this task to make the profile.",),
        )

    def make(self, context: Mapping[str, Any]) -> str:
        """
        Make the profile, or go on with an earlier try's.

        :param context: The task's context.
        :returns: The profile's id.
        """
        memory = TaskMemory(context, kind="avatar_profile", request=self._call.body, durable=self._durable)
        return str(self._once(context, memory).ensure().id)

    def _stands(self, record: Record) -> bool:
        log.info("An earlier try has made avatar profile %r: it is not made again.", record.id)
        return True

    def _once(self, context: Mapping[str, Any], memory: TaskMemory) -> Once:
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

        def present(began: float) -> Before | None:
            try:
                return Before(ids=tuple(profile.id for profile in named()))
            except MosaicError as error:
                log.info("The avatar profiles that are there before this one are not known: %s", error)
                return None

        return Once(
            what=f"avatar profile {self._name!r}",
            memory=memory,
            begin=begin,
            present=present,
            candidates=lambda record: _not_before(record, named()),
            siblings=SiblingTasks(context, key=AVATAR_PROFILE_ID_KEY, operator_class=self._operator_class).look,
            adopt=True,
            timeout=None,
            advice="Look at the avatar profiles in Mosaic.",
            stands=self._stands,
            tell=lambda profile_id: push_xcom(
                context, AVATAR_PROFILE_ID_KEY, profile_id, subject=f"avatar profile {profile_id!r}"
            ),
            may_be=lambda profile_id: self._hook.get_avatar_profile(profile_id),
        )


def _not_before(record: Record, candidates: list[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.id not in (record.before or ())]
