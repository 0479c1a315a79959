"""The state of one wait: pauses, deadline, tolerated errors, log lines."""

from __future__ import annotations

from itertools import cycle, pairwise

import pytest

from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.api.endpoints.runs import NodeCounts, Run
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
    NOT_FOUND_TIMEOUT,
    REFUSALS_TIMEOUT,
    PollState,
    post_poll_state,
    run_poll_state,
)
from airflow_provider_mosaic.api.rate_limit import MAX_COOLDOWN

START = 1_000_000.0


class FakeWait:
    """A PollState with a clock that the test sets."""

    def __init__(
        self, *, poll_interval: float = 30.0, timeout: float | None = None, started_at: float | None = None
    ) -> None:
        self.now = START
        #: Seconds by which the wall clock was set forward.
        self.stepped = 0.0
        self.lines: list[str] = []
        self.state: PollState[Run] = PollState(
            name="Run 'r'",
            outcome_of=run_outcome,
            describe=lambda run: run.status,
            poll_interval=poll_interval,
            deadline=None if timeout is None else START + timeout,
            log=self.lines.append,
            started_at=started_at,
            now=lambda: self.now + self.stepped,
            monotonic=lambda: self.now,
        )

    def poll(self, status: str = "running") -> bool:
        return self.state.record_success(Run(run_id="r", status=status)).ended


@pytest.mark.parametrize("poll_interval", [0.2, 1.0, 10.0, 30.0, 600.0])
def test_pauses_start_short_and_grow_to_the_interval(poll_interval: float) -> None:
    state = FakeWait(poll_interval=poll_interval).state
    pauses = [state.pause() for _ in range(40)]
    assert pauses[0] <= min(2.0, poll_interval)
    assert all(0.5 * poll_interval <= pause <= poll_interval for pause in pauses[20:])
    assert all(pause <= poll_interval for pause in pauses)
    # Each is at most 1.5 times the one before; jitter shortens it by at most 15 %.
    assert all(later <= 1.5 * earlier / 0.85 + 1e-9 for earlier, later in pairwise(pauses))


def test_jitter_separates_waits_that_started_together() -> None:
    states = [FakeWait().state for _ in range(50)]
    for _ in range(12):
        pauses = {state.pause() for state in states}
        assert len(pauses) > 25


def test_no_pause_is_longer_than_the_time_left() -> None:
    wait = FakeWait(poll_interval=30.0, timeout=100.0)
    while not wait.state.expired:
        pause = wait.state.pause()
        assert 0 <= pause <= START + 100.0 - wait.now
        wait.now += max(pause, 0.001)
    assert wait.now == pytest.approx(START + 100.0, abs=0.01)
    assert wait.state.pause() == 0.0
    wait.now += 1000
    assert wait.state.pause() == 0.0


def test_without_a_deadline_a_wait_never_expires() -> None:
    wait = FakeWait()
    wait.now += 1e9
    assert not wait.state.expired


def test_a_wait_expires_at_its_deadline() -> None:
    wait = FakeWait(timeout=10.0)
    assert not wait.state.expired
    wait.now += 10.0
    assert wait.state.expired


def test_retry_after_makes_one_pause_longer() -> None:
    state = FakeWait(poll_interval=10.0).state
    state.record_error(MosaicRateLimitError("x", retry_after=77.0))
    assert state.pause() == 77.0
    assert state.pause() < 10.0


def test_retry_after_is_bounded() -> None:
    state = FakeWait(poll_interval=10.0).state
    state.record_error(MosaicServerError("x", retry_after=30 * 86400.0))
    assert state.pause() == MAX_COOLDOWN


def test_retry_after_does_not_exceed_the_deadline() -> None:
    state = FakeWait(poll_interval=10.0, timeout=50.0).state
    state.record_error(MosaicRateLimitError("x", retry_after=77.0))
    assert state.pause() == 50.0


@pytest.mark.parametrize(
    "error",
    [
        MosaicServerError("x"),
        MosaicTransportError("x"),
        MosaicRateLimitError("x"),
        MosaicResponseError("no JSON", transient=True),
    ],
)
def test_many_errors_that_last_end_the_wait(error: MosaicError) -> None:
    wait = FakeWait()
    for _ in range(MAX_ERRORS - 1):
        wait.state.record_error(error)
    wait.now += ERRORS_TIMEOUT
    with pytest.raises(type(error)):
        wait.state.record_error(error)


def test_many_errors_in_a_short_time_are_tolerated() -> None:
    wait = FakeWait(poll_interval=0.1)
    for _ in range(10 * MAX_ERRORS):
        wait.state.record_error(MosaicServerError("x"))
    wait.now += ERRORS_TIMEOUT - 0.1
    wait.state.record_error(MosaicServerError("x"))
    wait.now += 0.1
    with pytest.raises(MosaicServerError):
        wait.state.record_error(MosaicServerError("x"))


def test_few_errors_in_a_long_time_are_tolerated() -> None:
    wait = FakeWait(poll_interval=3600.0)
    for _ in range(MAX_ERRORS - 1):
        wait.state.record_error(MosaicServerError("x"))
        wait.now += 3600.0


def test_only_errors_in_a_row_count() -> None:
    wait = FakeWait()
    for _ in range(5):
        for _ in range(MAX_ERRORS - 1):
            wait.state.record_error(MosaicServerError("x"))
            wait.now += ERRORS_TIMEOUT / 10
        wait.poll()


def test_a_successful_poll_resets_the_time_of_errors() -> None:
    wait = FakeWait()
    wait.state.record_error(MosaicServerError("x"))
    wait.now += ERRORS_TIMEOUT
    wait.poll()
    for _ in range(2 * MAX_ERRORS):
        wait.state.record_error(MosaicServerError("x"))


@pytest.mark.parametrize(
    "error",
    [
        MosaicAuthenticationError("there is no key"),
        MosaicPermissionError("x"),
        MosaicValidationError("an argument"),
    ],
)
def test_a_permanent_error_ends_the_wait_at_once(error: MosaicError) -> None:
    with pytest.raises(type(error)):
        FakeWait().state.record_error(error)


REFUSALS = [
    MosaicAuthenticationError("x", status=401),
    MosaicPermissionError("x", status=403),
    MosaicValidationError("x", status=400),
    MosaicConflictError("x", status=409),
    MosaicValidationError("x", status=410),
    MosaicNeedsCreditsError("x", status=402),
    MosaicResponseError("the field 'status' is missing", status=200),
    MosaicResponseError("it redirects", status=302),
    MosaicTransportError("the certificate has expired", transient=False),
]


def copy_of(error: MosaicError) -> MosaicError:
    return type(error)(str(error), status=error.status, transient=error.transient)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: str(error.status))
def test_several_refusals_that_last_end_the_wait_and_may_be_retried(refusal: MosaicError) -> None:
    wait = FakeWait()
    for _ in range(MAX_REFUSALS - 1):
        wait.state.record_error(copy_of(refusal))
    wait.now += REFUSALS_TIMEOUT
    with pytest.raises(type(refusal)) as caught:
        wait.state.record_error(copy_of(refusal))
    # A sensor fails after an error that is not transient. Airflow retries a task after these two anyway.
    assert caught.value.transient == (not isinstance(refusal, MosaicResponseError | MosaicTransportError))


def test_many_refusals_in_a_short_time_and_few_in_a_long_time_are_tolerated() -> None:
    quick, slow = FakeWait(), FakeWait()
    for _ in range(10 * MAX_REFUSALS):
        quick.state.record_error(MosaicPermissionError("x", status=403))
    quick.now += REFUSALS_TIMEOUT - 0.1
    quick.state.record_error(MosaicPermissionError("x", status=403))
    for _ in range(MAX_REFUSALS - 1):
        slow.state.record_error(MosaicPermissionError("x", status=403))
        slow.now += REFUSALS_TIMEOUT


@pytest.mark.parametrize("between", [None, MosaicServerError("x")], ids=["success", "another error"])
def test_only_refusals_in_a_row_count(between: MosaicError | None) -> None:
    wait = FakeWait()
    for _ in range(3):
        for _ in range(MAX_REFUSALS - 1):
            wait.state.record_error(MosaicPermissionError("x", status=403))
            wait.now += REFUSALS_TIMEOUT
        if between is None:
            wait.poll()
        else:
            wait.state.record_error(between)


def test_refusals_in_a_row_are_logged_once() -> None:
    wait = FakeWait()
    wait.poll()
    for _ in range(3):
        for _ in range(MAX_REFUSALS - 1):
            wait.state.record_error(MosaicAuthenticationError("Set a valid key.", status=401))
        wait.state.record_error(MosaicServerError("x"))
    wait.poll()
    assert wait.lines == [
        "Run 'r' is running.",
        "Run 'r' could not be read. If this lasts 5 minutes, the wait fails; nothing is cancelled. Set a valid key.",
        "Run 'r' can be read again.",
    ]


def test_not_found_ends_the_wait_after_a_minute() -> None:
    wait = FakeWait()
    for _ in range(3):
        for _ in range(MAX_NOT_FOUND - 1):
            wait.state.record_error(MosaicNotFoundError("x"))
            wait.now += NOT_FOUND_TIMEOUT
        wait.poll()
    for _ in range(10 * MAX_NOT_FOUND):
        wait.state.record_error(MosaicNotFoundError("x"))
    wait.now += NOT_FOUND_TIMEOUT - 0.1
    wait.state.record_error(MosaicNotFoundError("x"))
    wait.now += 0.1
    with pytest.raises(MosaicNotFoundError):
        wait.state.record_error(MosaicNotFoundError("x"))


MISSING = MosaicNotFoundError("x", status=404)
REFUSED = MosaicPermissionError("x", status=403)
UNAVAILABLE = MosaicServerError("x")


@pytest.mark.parametrize("between", [UNAVAILABLE, REFUSED], ids=["server error", "refusal"])
def test_only_not_found_in_a_row_counts(between: MosaicError) -> None:
    wait = FakeWait()
    for _ in range(3):
        for _ in range(MAX_NOT_FOUND - 1):
            wait.state.record_error(copy_of(MISSING))
        wait.state.record_error(copy_of(between))
        wait.now += NOT_FOUND_TIMEOUT
    for _ in range(MAX_NOT_FOUND - 1):
        wait.state.record_error(copy_of(MISSING))


@pytest.mark.parametrize(
    ("errors", "timeout"),
    [
        ((MISSING, UNAVAILABLE), ERRORS_TIMEOUT),
        ((MISSING, MISSING, UNAVAILABLE), ERRORS_TIMEOUT),
        ((REFUSED, UNAVAILABLE), ERRORS_TIMEOUT),
        ((MISSING, REFUSED, UNAVAILABLE), ERRORS_TIMEOUT),
        ((MISSING, REFUSED), REFUSALS_TIMEOUT),
        ((MISSING, MISSING, REFUSED), REFUSALS_TIMEOUT),
    ],
    ids=lambda value: "-".join(type(each).__name__ for each in value) if isinstance(value, tuple) else "",
)
def test_errors_that_alternate_end_the_wait_but_never_as_not_found(
    errors: tuple[MosaicError, ...], timeout: float
) -> None:
    wait = FakeWait()

    def fail_forever() -> None:
        for error in cycle(errors):
            wait.state.record_error(copy_of(error))
            wait.now += 30.0

    with pytest.raises(MosaicError) as caught:
        fail_forever()
    assert not isinstance(caught.value, MosaicNotFoundError)
    assert caught.value.transient
    assert timeout <= wait.now - START <= 1.5 * timeout


def test_not_found_does_not_end_a_new_wait() -> None:
    wait = FakeWait(started_at=START)
    for _ in range(10 * MAX_NOT_FOUND):
        wait.state.record_error(MosaicNotFoundError("x"))
    wait.now = START + NOT_FOUND_GRACE - 0.1
    wait.state.record_error(MosaicNotFoundError("x"))
    wait.now = START + NOT_FOUND_GRACE
    with pytest.raises(MosaicNotFoundError):
        wait.state.record_error(MosaicNotFoundError("x"))


@pytest.mark.parametrize("step", [-3600.0, 7 * 60.0, 3600.0])
@pytest.mark.parametrize(
    ("error", "count", "timeout"),
    [
        (MISSING, MAX_NOT_FOUND, NOT_FOUND_TIMEOUT),
        (REFUSED, MAX_REFUSALS, REFUSALS_TIMEOUT),
        (UNAVAILABLE, MAX_ERRORS, ERRORS_TIMEOUT),
    ],
    ids=["not found", "refusal", "server error"],
)
def test_a_step_of_the_wall_clock_does_not_change_how_long_errors_last(
    error: MosaicError, count: int, timeout: float, step: float
) -> None:
    wait = FakeWait()
    for _ in range(count - 1):
        wait.state.record_error(copy_of(error))
    wait.stepped = step
    wait.state.record_error(copy_of(error))
    wait.now += timeout
    with pytest.raises(type(error)):
        wait.state.record_error(copy_of(error))


def test_only_changes_are_logged() -> None:
    wait = FakeWait()
    for status in ["running", "running", "queued", "queued", "running", "queued", "completed"]:
        wait.poll(status)
    assert wait.lines == [
        "Run 'r' is running.",
        "Run 'r' is queued.",
        "Run 'r' has the unknown status 'queued', which counts as pending.",
        "Run 'r' is running.",
        "Run 'r' is queued.",
        "Run 'r' is completed.",
    ]


def test_the_first_error_in_a_row_and_the_next_success_are_logged() -> None:
    wait = FakeWait()
    wait.poll()
    for _ in range(5):
        wait.state.record_error(MosaicServerError("Could not read run 'r'."))
    wait.poll()
    wait.poll()
    assert wait.lines == [
        "Run 'r' is running.",
        "Run 'r' could not be read. The wait continues. Could not read run 'r'.",
        "Run 'r' can be read again.",
    ]


def test_a_poll_returns_whether_the_item_has_ended() -> None:
    wait = FakeWait()
    assert [wait.poll(s) for s in ("running", "queued", "partial_complete", "cancelled")] == [False, False, True, True]


def test_the_progress_of_a_run_is_logged() -> None:
    lines: list[str] = []
    warnings: list[str] = []
    state = run_poll_state("r", poll_interval=1.0, deadline=None, log=lines.append, warn=warnings.append)
    state.record_success(Run(run_id="r", status="running", node_status_counts=NodeCounts(completed=1, in_progress=2)))
    state.record_success(Run(run_id="r", status="running", node_status_counts=NodeCounts(completed=2, in_progress=1)))
    state.record_success(Run(run_id="r", status="failed", needs_credits=True, node_status_counts=NodeCounts(failed=1)))
    assert lines == [
        "Run 'r' is running: 1 completed, 2 in progress, 0 failed.",
        "Run 'r' is running: 2 completed, 1 in progress, 0 failed.",
    ]
    # A user must buy some.
    assert warnings == ["Run 'r' is failed (short of credits): 0 completed, 0 in progress, 1 failed."]


def test_the_status_of_a_post_is_logged() -> None:
    lines: list[str] = []
    state = post_poll_state("p", poll_interval=1.0, deadline=None, log=lines.append)
    for status in ("scheduled", "scheduled", "posted"):
        state.record_success(Post(post_id="p", status=status))
    assert lines == ["Post 'p' is scheduled.", "Post 'p' is posted."]
