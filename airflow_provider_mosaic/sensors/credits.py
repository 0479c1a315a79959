"""Wait for credits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mosaic.api import options
from airflow_provider_mosaic.api.arguments import validate_credits
from airflow_provider_mosaic.sensors.base import CompletionSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_provider_mosaic.api.endpoints.billing import Credits
    from airflow_provider_mosaic.api.poll_state import PollOptions, PollState
    from airflow_provider_mosaic.base import Text
    from airflow_provider_mosaic.hooks.mosaic import MosaicHook


class MosaicCreditsSensor(CompletionSensor):
    """
    Wait until the organization has at least ``min_credits`` credits (https://docs.mosaic.so/api/credits/get-credits).

    The sensor only reads. It buys nothing and reserves nothing: other runs may use the credits before yours does. An
    organization without a limit always has enough.

    The balance is the ``return_value``; None without a limit.

    :param min_credits: The required balance.
    :param deferrable: Whether to wait in the triggerer, without a worker. Default: Airflow's ``default_deferrable``.
    :param poll_interval: The pause between two polls, in seconds or as a timedelta. In the triggerer the first pauses
        are shorter; on a worker it is the sensor's ``poke_interval``.
    :param timeout: Airflow's ``timeout`` of sensors, in seconds or as a timedelta: then the sensor fails, or is skipped
        with ``soft_fail``.
    :param mosaic_conn_id: The Airflow connection to Mosaic.
    """

    template_fields: Sequence[str] = ("min_credits", "mosaic_conn_id")
    _options = options.CREDITS_SENSOR
    _row_label_arguments = ("min_credits",)
    _trigger_class = "airflow_provider_mosaic.triggers.credits.MosaicCreditsTrigger"

    def __init__(
        self,
        *,
        min_credits: float | Text,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 60.0,
        mosaic_conn_id: Text = "mosaic_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, poll_interval=poll_interval, mosaic_conn_id=mosaic_conn_id, **kwargs)
        self.min_credits = min_credits
        self._validate_constants()

    def _required_balance(self) -> float:
        return validate_credits("min_credits", self.min_credits)

    def _read(self, hook: MosaicHook) -> Credits:
        from airflow_provider_mosaic.tasks.credits import read_credits

        return read_credits(hook, self._required_balance())

    def _poll_state(self, **options: Unpack[PollOptions]) -> PollState[Credits]:
        from airflow_provider_mosaic.api.poll_state import credits_poll_state

        return credits_poll_state(self._required_balance(), **options)

    def _return_value(self, item: Credits) -> float | None:
        return None if item.unlimited else item.balance

    def _item_arguments(self) -> dict[str, Any]:
        return {"min_credits": self._required_balance()}

    @property
    def _id(self) -> str:
        from airflow_provider_mosaic.triggers.credits import CREDITS_ID

        return CREDITS_ID
