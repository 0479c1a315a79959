"""Which channels are added, moved and removed, by what Mosaic lists and by the ids that it reports."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.triggers import AddedChannels, YouTubeTrigger
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.options import KEEP_CALLBACK
from airflow_provider_mosaic.api.youtube_channels import ChannelIds, DesiredTrigger, TriggerComparison

A, B, C = (f"UC{letter * 22}" for letter in "abc")
LONG = {"duration": {"min_seconds": 600}}
HOOK = "https://hooks.example.org/youtube"


def desired(*channels: str, filter_options: Any = None, **options: Any) -> DesiredTrigger:
    arguments = {"callback_url": KEEP_CALLBACK, "exclusive": False, **options}
    return DesiredTrigger.validated(
        agent_id="agent", youtube_channels=list(channels), filter_options=filter_options, **arguments
    )


def trigger(*channels: str, filter_options: Any = None, callback: str | None = None) -> YouTubeTrigger:
    fields = {"youtube_channels": list(channels), "filter_options": filter_options or {}, "callback_url": callback}
    return YouTubeTrigger.model_validate({"id": "t", **fields})


def compare(wanted: DesiredTrigger, *triggers: YouTubeTrigger, ids: ChannelIds | None = None) -> TriggerComparison:
    return TriggerComparison(wanted, triggers, ids or ChannelIds())


def ids_after_adding(channel: str, channel_id: str | None) -> ChannelIds:
    ids = ChannelIds()
    entries = [{"input": channel, "channel_id": channel_id}] if channel_id else []
    ids.save_added([channel], AddedChannels.model_validate({"channels": entries}))
    return ids


@pytest.mark.parametrize(
    ("channel", "key"),
    [
        (A, A),
        (f"https://youtube.com/channel/{A}", A),
        (f"https://youtube.com/channel/{A}/videos", A),
        ("@Demo", "@demo"),
        ("https://www.youtube.com/@Demo/videos", "@demo"),
        ("https://www.youtube.com/%40Demo", "@demo"),
        ("https://www.youtube.com/c/Demo", "https://www.youtube.com/c/Demo"),
        ("https://youtube.com/channel/short", "https://youtube.com/channel/short"),
        ("https://youtube.com", "https://youtube.com"),
        ("https://[x", "https://[x"),
        pytest.param(f"https://{'é' * 254}/@Demo", f"https://{'é' * 254}/@Demo", id="long host"),
        ("Demo", "Demo"),
    ],
)
def test_channel_is_identified_by_its_id_or_handle(channel: str, key: str) -> None:
    assert ChannelIds().key(channel) == key


@pytest.mark.parametrize("duration", ["60-120", [60, 120], 60])
@pytest.mark.parametrize("filter_options", [None, LONG])
def test_duration_of_another_type_matches_no_requested_trigger(duration: Any, filter_options: Any) -> None:
    assert not desired(A, filter_options=filter_options).matches(trigger(A, filter_options={"duration": duration}))


@pytest.mark.parametrize(
    ("triggers", "to_add"),
    [
        ([], [A, B]),
        ([trigger(A, B)], []),
        ([trigger(A, B, C)], []),
        ([trigger(B)], [A]),
        ([trigger(B), trigger(A, filter_options=LONG)], [A]),
        ([trigger(A, B), trigger(A, filter_options=LONG)], [A]),
        # Two triggers with the same filter.
        ([trigger(A), trigger(B)], []),
    ],
)
def test_channels_that_the_trigger_lacks_or_shares_are_added(triggers: list[YouTubeTrigger], to_add: list[str]) -> None:
    comparison = compare(desired(A, B), *triggers)
    assert comparison.to_add == to_add
    assert comparison.is_set() == (not to_add)


def test_callback_is_set_by_sending_a_channel_again() -> None:
    present = trigger(A, B, callback=HOOK)
    assert compare(desired(A, B), present).to_add == []
    assert compare(desired(A, B, callback_url=HOOK), present).to_add == []
    assert compare(desired(A, B, callback_url=None), present).to_add == [A]


@pytest.mark.parametrize("field", [{"callback_url": None}, {"callback_url": ""}], ids=str)
def test_shared_channel_may_leave_a_trigger_that_has_no_callback(field: dict[str, Any]) -> None:
    own = YouTubeTrigger.model_validate({"id": "t", "youtube_channels": [A], **field})
    compare(desired(A), own, trigger(A, filter_options=LONG)).fail_if_callback_is_lost()


def test_channel_without_a_reported_id_is_sent_once_and_protects_new_channels() -> None:
    before = compare(desired("@demo"), trigger(A))
    assert before.to_add == ["@demo"]
    ids = ids_after_adding("@demo", None)
    after = compare(desired("@demo"), trigger(B), ids=ids)
    assert after.to_add == []
    assert after.to_remove(before) == []
    with pytest.raises(MosaicError, match=f"ids of these channels: @demo.*They may be among {A}"):
        compare(desired("@demo"), trigger(A, B), ids=ids).to_remove(before)


def test_id_without_a_reported_id_is_sent_until_it_is_listed() -> None:
    assert compare(desired(A), trigger(B), ids=ids_after_adding(A, None)).to_add == [A]


@pytest.mark.parametrize("listed", ["https://youtube.com/c/Demo", A])
def test_reported_id_identifies_the_listed_url_too(listed: str) -> None:
    wanted = desired("https://youtube.com/c/Demo")
    ids = ids_after_adding("https://youtube.com/c/Demo", A)
    assert compare(wanted, trigger(listed), ids=ids).is_set()
    shared = compare(wanted, trigger(listed), trigger(A, filter_options=LONG), ids=ids).shared
    assert shared == {"https://youtube.com/c/Demo": listed}


def test_other_channels_are_removed_from_the_trigger_alone_unless_exclusive() -> None:
    triggers = trigger(A, B), trigger(C, filter_options=LONG)
    comparison = compare(desired(A), *triggers)
    assert comparison.to_remove(comparison) == [B]
    exclusive = compare(desired(A, exclusive=True), *triggers)
    assert exclusive.to_remove(exclusive) == [B, C]


@pytest.mark.parametrize("exclusive", [False, True])
def test_other_channel_that_another_trigger_has_too_is_removed_only_if_exclusive(exclusive: bool) -> None:
    comparison = compare(desired(A, exclusive=exclusive), trigger(A, B), trigger(B, filter_options=LONG))
    if exclusive:
        assert comparison.to_remove(comparison) == [B]
    else:
        with pytest.raises(MosaicError, match=f"in other triggers .* too: {B}"):
            comparison.to_remove(comparison)
