from __future__ import annotations

from itertools import pairwise

import pytest

from airflow_provider_mosaic.api.endpoints.runs import NodeCounts, Run
from airflow_provider_mosaic.api.endpoints.social import Post
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicResponseError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.api.poll_state import (
    ERRORS_TIMEOUT,
    MAX_ERRORS,
    MAX_NOT_FOUND,
    MAX_REFUSALS,
    NOT_FOUND_GRACE,
    REFUSALS_TIMEOUT,
    PollState,
    post_poll_state,
    run_poll_state,
)
from airflow_provider_mosaic.api.rate_limit import LONGEST_COOLDOWN

START = 1_000_000.0


class Course:
    """A wait whose clock stands still until it is told the time."""

    def __init__(
        self, *, poll_interval: float = 30.0, timeout: float | None = None, begun: float | None = None
    ) -> None:
        self.now = START
        self.lines: list[str] = []
        self.watch: PollState[Run] = PollState(
            name="Run 'r'",
            judge=run_outcome,
            describe=lambda run: run.status,
            poll_interval=poll_interval,
            deadline=None if timeout is None else START + timeout,
            noted=self.lines.append,
            begun=begun,
            now=lambda: self.now,
        )

    def see(self, status: str = "running") -> bool:
        return self.watch.record_success(Run(run_id="r", status=status)).ended


@pytest.mark.parametrize("poll_interval", [0.2, 1.0, 10.0, 30.0, 600.0])
def test_pauses_begin_short_and_grow_to_the_interval(poll_interval: float) -> None:
    watch = Course(poll_interval=poll_interval).watch
    pauses = [watch.pause() for _ in range(40)]
    assert pauses[0] <= min(2.0, poll_interval)
    assert all(0.5 * poll_interval <= pause <= poll_interval for pause in pauses[20:])
    assert all(pause <= poll_interval for pause in pauses)
    # Each is at most half as long again as the one before; the jitter takes at most 15 %.
    assert all(later <= 1.5 * earlier / 0.85 + 1e-9 for earlier, later in pairwise(pauses))


def test_waits_that_began_together_do_not_look_together() -> None:
    courses = [Course().watch for _ in range(50)]
    for _ in range(12):
        pauses = {watch.pause() for watch in courses}
        assert len(pauses) > 25


def test_no_pause_goes_past_the_deadline() -> None:
    course = Course(poll_interval=30.0, timeout=100.0)
    while not course.watch.expired:
        pause = course.watch.pause()
        assert 0 <= pause <= START + 100.0 - course.now
        course.now += max(pause, 0.001)
    assert course.now == pytest.approx(START + 100.0, abs=0.01)
    assert course.watch.pause() == 0.0
    course.now += 1000
    assert course.watch.pause() == 0.0


def test_without_a_deadline_a_wait_never_expires() -> None:
    course = Course()
    course.now += 1e9
    assert not course.watch.expired


def test_a_deadline_is_over_when_it_is_reached() -> None:
    course = Course(timeout=10.0)
    assert not course.watch.expired
    course.now += 10.0
    assert course.watch.expired


def test_the_server_may_ask_for_a_longer_pause_once() -> None:
    watch = Course(poll_interval=10.0).watch
    watch.record_error(MosaicRateLimitError("x", retry_after=77.0))
    assert watch.pause() == 77.0
    assert watch.pause() < 10.0


def test_the_server_may_not_ask_for_a_month() -> None:
    watch = Course(poll_interval=10.0).watch
    watch.record_error(MosaicServerError("x", retry_after=30 * 86400.0))
    assert watch.pause() == LONGEST_COOLDOWN


def test_the_server_may_not_ask_for_a_pause_past_the_deadline() -> None:
    watch = Course(poll_interval=10.0, timeout=50.0).watch
    watch.record_error(MosaicRateLimitError("x", retry_after=77.0))
    assert watch.pause() == 50.0


@pytest.mark.parametrize(
    "error", [MosaicServerError("x"), MosaicTransportError("x"), MosaicRateLimitError("x"), MosaicResponseError("x")]
)
def test_faults_are_borne_to_a_number_and_for_a_time(error: MosaicError) -> None:
    course = Course()
    for _ in range(MAX_ERRORS - 1):
        course.watch.record_error(error)
    course.now += ERRORS_TIMEOUT
    with pytest.raises(type(error)):
        course.watch.record_error(error)


def test_many_faults_in_a_short_time_are_borne() -> None:
    course = Course(poll_interval=0.1)
    for _ in range(10 * MAX_ERRORS):
        course.watch.record_error(MosaicServerError("x"))
    course.now += ERRORS_TIMEOUT - 0.1
    course.watch.record_error(MosaicServerError("x"))
    course.now += 0.1
    with pytest.raises(MosaicServerError):
        course.watch.record_error(MosaicServerError("x"))


def test_few_faults_in_a_long_time_are_borne() -> None:
    course = Course(poll_interval=3600.0)
    for _ in range(MAX_ERRORS - 1):
        course.watch.record_error(MosaicServerError("x"))
        course.now += 3600.0


def test_only_faults_in_a_row_count() -> None:
    course = Course()
    for _ in range(5):
        for _ in range(MAX_ERRORS - 1):
            course.watch.record_error(MosaicServerError("x"))
            course.now += ERRORS_TIMEOUT / 10
        course.see()


def test_the_time_of_faults_begins_anew_after_a_good_answer() -> None:
    course = Course()
    course.watch.record_error(MosaicServerError("x"))
    course.now += ERRORS_TIMEOUT
    course.see()
    for _ in range(2 * MAX_ERRORS):
        course.watch.record_error(MosaicServerError("x"))


@pytest.mark.parametrize(
    "error",
    [
        MosaicAuthenticationError("there is no key"),
        MosaicPermissionError("x"),
        MosaicValidationError("an argument"),
        MosaicTransportError("x", transient=False),
    ],
)
def test_what_will_not_pass_ends_the_wait_at_once(error: MosaicError) -> None:
    with pytest.raises(type(error)):
        Course().watch.record_error(error)


REFUSALS = [
    MosaicAuthenticationError("x", status=401),
    MosaicPermissionError("x", status=403),
    MosaicValidationError("x", status=400),
    MosaicConflictError("x", status=409),
    MosaicValidationError("x", status=410),
    MosaicNeedsCreditsError("x", status=402),
]


def copy_of(error: MosaicError) -> MosaicError:
    return type(error)(str(error), status=error.status)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: str(error.status))
def test_a_refusal_is_believed_after_several_that_lasted_and_left_to_the_retries_then(refusal: MosaicError) -> None:
    course = Course()
    for _ in range(MAX_REFUSALS - 1):
        course.watch.record_error(copy_of(refusal))
    course.now += REFUSALS_TIMEOUT
    with pytest.raises(type(refusal)) as caught:
        course.watch.record_error(copy_of(refusal))
    assert caught.value.transient


def test_many_refusals_in_a_short_time_and_few_in_a_long_time_are_borne() -> None:
    quick, slow = Course(), Course()
    for _ in range(10 * MAX_REFUSALS):
        quick.watch.record_error(MosaicPermissionError("x", status=403))
    quick.now += REFUSALS_TIMEOUT - 0.1
    quick.watch.record_error(MosaicPermissionError("x", status=403))
    for _ in range(MAX_REFUSALS - 1):
        slow.watch.record_error(MosaicPermissionError("x", status=403))
        slow.now += REFUSALS_TIMEOUT


@pytest.mark.parametrize("between", [None, MosaicServerError("x")], ids=["a good answer", "another fault"])
def test_only_refusals_in_a_row_count(between: MosaicError | None) -> None:
    course = Course()
    for _ in range(3):
        for _ in range(MAX_REFUSALS - 1):
            course.watch.record_error(MosaicPermissionError("x", status=403))
            course.now += REFUSALS_TIMEOUT
        if between is None:
            course.see()
        else:
            course.watch.record_error(between)


def test_a_row_of_refusals_is_told_once_with_what_to_do() -> None:
    course = Course()
    course.see()
    for _ in range(3):
        for _ in range(MAX_REFUSALS - 1):
            course.watch.record_error(MosaicAuthenticationError("Set a valid key.", status=401))
        course.watch.record_error(MosaicServerError("x"))
    course.see()
    assert course.lines == [
        "Run 'r' is running.",
        "Run 'r' may not be read. If that stays so for 5 minutes, the wait fails; nothing is cancelled. "
        "Set a valid key.",
        "Run 'r' can be read again.",
    ]


def test_not_found_is_believed_the_third_time_in_a_row() -> None:
    course = Course()
    for _ in range(3):
        for _ in range(MAX_NOT_FOUND - 1):
            course.watch.record_error(MosaicNotFoundError("x"))
        course.see()
    for _ in range(MAX_NOT_FOUND - 1):
        course.watch.record_error(MosaicNotFoundError("x"))
    with pytest.raises(MosaicNotFoundError):
        course.watch.record_error(MosaicNotFoundError("x"))


def test_not_found_is_not_believed_while_what_was_begun_settles() -> None:
    course = Course(begun=START)
    for _ in range(10 * MAX_NOT_FOUND):
        course.watch.record_error(MosaicNotFoundError("x"))
    course.now = START + NOT_FOUND_GRACE - 0.1
    course.watch.record_error(MosaicNotFoundError("x"))
    course.now = START + NOT_FOUND_GRACE
    with pytest.raises(MosaicNotFoundError):
        course.watch.record_error(MosaicNotFoundError("x"))


def test_a_line_is_noted_when_something_changes_and_only_then() -> None:
    course = Course()
    for status in ["running", "running", "queued", "queued", "running", "queued", "completed"]:
        course.see(status)
    assert course.lines == [
        "Run 'r' is running.",
        "Run 'r' has the unknown status 'queued': taken as not ended yet.",
        "Run 'r' is queued.",
        "Run 'r' is running.",
        "Run 'r' is queued.",
        "Run 'r' is completed.",
    ]


def test_a_row_of_faults_is_two_lines_at_its_beginning_and_its_end() -> None:
    course = Course()
    course.see()
    for _ in range(5):
        course.watch.record_error(MosaicServerError("Could not read run 'r'."))
    course.see()
    course.see()
    assert course.lines == [
        "Run 'r' is running.",
        "Run 'r' could not be read, the wait goes on. Could not read run 'r'.",
        "Run 'r' can be read again.",
    ]


def test_a_look_says_whether_the_wait_is_over() -> None:
    course = Course()
    assert [course.see(s) for s in ("running", "queued", "partial_complete", "cancelled")] == [False, False, True, True]


def test_a_run_is_told_with_its_nodes_and_its_want_of_credits() -> None:
    lines: list[str] = []
    watch = run_poll_state("r", poll_interval=1.0, deadline=None, noted=lines.append)
    watch.record_success(Run(run_id="r", status="running", node_status_counts=NodeCounts(completed=1, in_progress=2)))
    watch.record_success(Run(run_id="r", status="running", node_status_counts=NodeCounts(completed=2, in_progress=1)))
    watch.record_success(Run(run_id="r", status="failed", needs_credits=True, node_status_counts=NodeCounts(failed=1)))
    assert lines == [
        "Run 'r' is running: 1 completed, 2 in progress, 0 failed.",
        "Run 'r' is running: 2 completed, 1 in progress, 0 failed.",
        "Run 'r' is failed (short of credits): 0 completed, 0 in progress, 1 failed.",
    ]


def test_a_post_is_told_with_its_status() -> None:
    lines: list[str] = []
    watch = post_poll_state("p", poll_interval=1.0, deadline=None, noted=lines.append)
    for status in ("scheduled", "scheduled", "posted"):
        watch.record_success(Post(post_id="p", status=status))
    assert lines == ["Post 'p' is scheduled.", "Post 'p' is posted."]
