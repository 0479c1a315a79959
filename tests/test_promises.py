"""Each row of the tables in docs/promises.md, and each exit of a task, has its test in the suite that CI runs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")

CANCELLING = "operators/test_run_cancelling.py"
EXITS = "airflow/test_exits.py"
FAULTS = "faults/test_faults.py"
OUTAGES = "operators/test_airflow_outages.py"

#: By the first words of a row; a part of a test's parameter in brackets must be found in its module.
CLOCKS = {
    "one request": [
        "clients/test_send.py::test_a_connection_that_is_not_taken_in_time_means_that_nothing_was_done",
        "clients/test_send.py::test_a_call_that_takes_longer_than_usual_is_given_its_time",
    ],
    "the wait for a run": [
        f"{CANCELLING}::test_when_the_time_is_over_the_run_is_cancelled_and_no_retry_is_burned",
        "operators/test_run_options.py::test_the_deadline_is_that_of_the_first_try",
        "operators/test_run_options.py::test_a_new_run_of_a_retry_has_no_new_deadline",
        "operators/test_run_options.py::test_a_retry_after_the_deadline_cancels_a_run_that_still_goes_on",
        "operators/test_existing_runs.py::test_when_the_time_is_over_the_run_is_cancelled_and_no_retry_is_burned",
        "triggers/test_triggers.py::test_the_deadline_is_kept_by_the_wall_clock_over_a_restart",
        f"{EXITS}::test_exit_cancels_the_run[timeout on a worker]",
        f"{EXITS}::test_exit_cancels_the_run[timeout while deferred]",
    ],
    "the wait for a post": [
        "operators/test_posts.py::test_the_time_for_a_scheduled_post_counts_from_its_schedule",
        "operators/test_posts.py::test_a_post_that_is_not_out_in_time_is_left_alone_and_never_made_again",
        "triggers/test_triggers.py::test_the_posts_deadline_is_kept",
    ],
    "faults while polling": [
        "api/test_poll_state.py::test_faults_are_borne_to_a_number_and_for_a_time",
        "api/test_poll_state.py::test_many_faults_in_a_short_time_are_borne",
        "api/test_poll_state.py::test_few_faults_in_a_long_time_are_borne",
        "triggers/test_triggers.py::test_a_wait_outlives_nineteen_faults_in_a_row_and_gives_up_at_the_twentieth",
    ],
    "refusals while polling": [
        "api/test_poll_state.py::test_a_refusal_is_believed_after_several_that_lasted_and_left_to_the_retries_then",
        "api/test_poll_state.py::test_many_refusals_in_a_short_time_and_few_in_a_long_time_are_borne",
        "api/test_poll_state.py::test_only_refusals_in_a_row_count",
        "triggers/test_triggers.py::test_a_refusal_is_believed_after_some_in_a_row_and_a_retry_may_find_it_mended",
        "triggers/test_triggers.py::test_fewer_refusals_or_ones_that_did_not_last_are_borne",
        f"{OUTAGES}::test_a_lookup_that_fails_for_minutes_ends_the_try_and_never_the_task",
        "sensors/test_airflow_outages.py::test_a_poking_sensor_bears_lookups_that_fail_for_minutes",
        "triggers/test_triggers.py::test_a_wait_whose_first_lookups_fail_goes_on_when_the_connection_is_back",
        "triggers/test_triggers.py::test_a_missing_connection_is_believed_after_some_lookups_and_named",
    ],
    "the shortest deferral": [
        "triggers/test_poller.py::test_a_task_is_deferred_for_longer_than_a_heartbeat_of_its_supervisor",
        "triggers/test_poller.py::test_the_heartbeat_is_read_from_the_configuration",
        "triggers/test_poller.py::test_a_longer_heartbeat_makes_deferrals_longer",
    ],
    "Airflow's `execution_timeout`": [
        f"{CANCELLING}::test_execution_timeout_cancels_the_run_too_and_a_retry_may_go_on",
        f"{CANCELLING}::test_execution_timeout_counts_from_the_start_of_the_try_also_while_the_task_is_deferred",
        f"{CANCELLING}::test_deferring_again_prolongs_no_clock_whenever_airflow_says_that_the_try_began",
        f"{EXITS}::test_exit_cancels_the_run[execution_timeout on a worker]",
        f"{EXITS}::test_exit_cancels_the_run[execution_timeout while deferred]",
    ],
    "the trigger's limit": [
        f"{CANCELLING}::test_when_airflow_gives_up_on_the_trigger_the_run_is_cancelled_before_the_task_fails",
        f"{OUTAGES}::test_airflows_own_limit_is_believed_only_of_a_run_that_goes_on",
        f"{EXITS}::test_exit_cancels_the_run[Airflow's limit on the trigger]",
    ],
    "a sensor's `timeout`": [
        "sensors/test_run_sensor.py::test_a_poking_sensor_fails_at_its_own_timeout_and_leaves_the_run_alone",
        "sensors/test_run_sensor.py::"
        "test_a_deferred_sensor_is_given_up_by_airflow_at_its_timeout_and_leaves_the_run_alone",
        "sensors/test_run_sensor.py::test_soft_fail_makes_a_skip_of_the_timeout",
        "sensors/test_run_sensor.py::test_deferring_again_prolongs_no_clock",
        "sensors/test_other_sensors.py::test_its_own_timeout_ends_it",
    ],
    "a sensor's `execution_timeout`": [
        "sensors/test_run_sensor.py::test_execution_timeout_holds_while_the_sensor_is_deferred",
        "sensors/test_other_sensors.py::test_execution_timeout_holds_while_it_is_deferred",
    ],
}

CANCELS = {
    "a worker's task is killed": [
        f"{CANCELLING}::test_a_kill_while_the_task_waits_cancels_the_run",
        f"{CANCELLING}::test_a_kill_while_the_start_is_under_way_cancels_the_run_as_soon_as_its_id_is_known",
        f"{CANCELLING}::test_a_kill_cancels_within_seconds_also_when_the_server_hangs",
        f"{EXITS}::test_exit_cancels_the_run[a task on a worker is marked failed]",
        f"{EXITS}::test_exit_cancels_the_run[a task on a worker is marked success]",
        f"{FAULTS}::test_the_local_mosaic_counts_what_was_promised[SIGTERM while polling]",
    ],
    "Airflow kills a worker's task because its API server is away": [
        f"{OUTAGES}::test_a_kill_in_an_outage_of_airflows_api_server_leaves_the_run_alone",
        "durable/test_outages.py::test_what_the_health_page_says",
        "durable/test_outages.py::test_a_server_that_does_not_answer_is_away_within_the_time",
    ],
    "a worker's process is killed hard": [
        "operators/test_run_retries.py::test_a_retry_goes_on_with_a_run_that_is_active",
        f"{FAULTS}::test_the_local_mosaic_counts_what_was_promised[7 at resume, killed]",
    ],
    "a deferred task is marked failed, marked success or cleared": [
        f"{CANCELLING}::test_a_deferred_task_that_is_killed_has_its_run_cancelled_by_its_trigger",
        "operators/test_run_options.py::"
        "test_a_clear_of_a_deferred_task_starts_afresh_and_the_old_triggers_late_kill_leaves_the_new_run_alone",
        "operators/test_run_options.py::test_a_clear_cancels_what_the_old_order_waited_for_if_its_trigger_never_did",
        "operators/test_existing_runs.py::"
        "test_a_clear_of_a_deferred_task_has_the_run_going_on_after_the_old_triggers_late_kill",
        "airflow/test_cleared_resume.py::test_run_continues_when_its_deferred_resume_is_cleared",
        f"{EXITS}::test_exit_cancels_the_run[a deferred task is marked failed]",
        f"{EXITS}::test_exit_cancels_the_run[a deferred task is marked success]",
    ],
    "the DAG run is over its `dagrun_timeout`": ["airflow/test_dag_run_ends.py::test_run_is_cancelled"],
    "the triggerer or scheduler is restarted, moved, or dies": [
        f"{EXITS}::test_restarts_and_dag_changes_keep_the_run",
        "triggers/test_triggers.py::test_the_deadline_is_kept_by_the_wall_clock_over_a_restart",
    ],
    "the task's `timeout`, its `execution_timeout`, or Airflow's own limit": [
        *CLOCKS["the wait for a run"],
        *CLOCKS["Airflow's `execution_timeout`"],
        *CLOCKS["the trigger's limit"],
    ],
    "polling fails for good": [
        f"{CANCELLING}::test_a_trigger_that_gave_up_for_faults_leaves_the_run_alone_and_the_retry_takes_it_up",
        f"{CANCELLING}::test_a_trigger_that_met_a_bad_key_burns_no_retries",
    ],
    "a `MosaicRunSensor` ends": [
        "sensors/test_run_sensor.py::test_the_sensors_trigger_cancels_nothing_when_it_is_killed",
        "airflow/test_waiting_for_a_run.py::test_sensor_marked_failed_does_not_cancel_the_run",
    ],
}

SERVICES = {
    "the lookup of the connection, before": [
        f"{OUTAGES}::test_a_lookup_that_fails_at_the_start_is_left_to_the_retries",
        f"{OUTAGES}::test_the_retry_starts_what_a_failed_lookup_prevented",
        "sensors/test_airflow_outages.py::test_lookups_that_go_on_failing_fail_the_try_and_skip_nothing",
    ],
    "the lookup of the connection, during": [
        f"{OUTAGES}::test_a_lookup_that_fails_when_the_task_goes_on_is_tolerated",
        "sensors/test_airflow_outages.py::test_a_deferred_sensor_fails_the_try_when_lookups_go_on_failing",
        f"{FAULTS}::test_the_local_mosaic_counts_what_was_promised"
        "[lookup of the connection fails at the triggerer's first look]",
    ],
    "the record that something is about to be started": [
        f"{OUTAGES}::test_nothing_is_sent_when_the_intent_cannot_be_recorded",
    ],
    "the record of an id, or an XCom": [
        f"{OUTAGES}::test_a_run_whose_xcom_cannot_be_written_is_waited_for",
        f"{OUTAGES}::test_what_was_made_is_the_tasks_also_when_its_xcom_cannot_be_written",
        f"{OUTAGES}::test_an_id_that_cannot_be_recorded_is_logged_and_the_task_goes_on",
        f"{FAULTS}::test_the_local_mosaic_counts_what_was_promised[XCom can't be written after the start]",
    ],
    "reading the task state store": [
        f"{OUTAGES}::test_a_store_that_cannot_be_read_just_now_is_left_to_the_retries",
        f"{OUTAGES}::test_a_store_that_cannot_be_read_does_not_keep_a_cleared_task_from_starting",
    ],
    "a record whose value is gone": [
        f"{OUTAGES}::test_an_entry_whose_object_is_gone_is_doubt",
        f"{FAULTS}::test_the_local_mosaic_counts_what_was_promised[state store has lost the entry by the retry]",
    ],
    "reading the Variable": [f"{OUTAGES}::test_a_variable_that_cannot_be_read_is_not_taken_for_none"],
    "the API server, under a task that waits": [
        *CANCELS["Airflow kills a worker's task because its API server is away"]
    ],
    "the API server, under a deferred task": [
        f"{EXITS}::test_restarts_and_dag_changes_keep_the_run",
    ],
}

#: What is said beside the tables.
BESIDES = {
    "`cancel_on_kill=False` lets the run go on": [
        f"{CANCELLING}::test_told_so_a_clock_that_ran_out_lets_the_run_go_on",
        f"{CANCELLING}::test_told_so_a_kill_lets_the_run_go_on",
        f"{CANCELLING}::test_told_so_the_trigger_cancels_nothing",
        f"{CANCELLING}::test_told_so_a_trigger_that_is_given_up_lets_the_run_go_on",
        "operators/test_run_options.py::test_told_so_a_clear_leaves_the_old_run_alone",
        f"{EXITS}::test_exit_cancels_the_run[a deferred task is marked failed, cancel_on_kill=False]",
    ],
    "each of these clocks is believed only after one more look": [
        f"{OUTAGES}::test_a_run_that_ended_while_the_task_queued_for_a_worker_is_taken",
        f"{OUTAGES}::test_a_post_that_came_out_meanwhile_is_taken",
        "sensors/test_airflow_outages.py::test_what_ended_while_the_sensor_queued_for_a_worker_is_taken",
    ],
    "When a person clears a task, it starts a new run": [
        "operators/test_run_options.py::test_a_clear_starts_afresh_whatever_became_of_the_old_run",
        "operators/test_run_options.py::test_a_clear_begins_anew_whatever_can_be_said_of_the_old_run",
        "operators/test_post_promises.py::test_a_clear_makes_the_post_again",
    ],
    "A `MosaicResumeRunOperator` has no other run to go to": [
        "operators/test_existing_runs.py::"
        "test_a_kill_that_never_comes_is_waited_for_a_quarter_of_a_minute_and_the_run_goes_on",
    ],
    "say so in an Airflow Variable": [
        "operators/test_manual_adoption.py::test_the_run_that_a_person_names_is_gone_on_with",
        "operators/test_manual_adoption.py::test_the_post_that_a_person_names_is_gone_on_with",
        "operators/test_manual_adoption.py::test_the_profile_that_a_person_names_is_gone_on_with",
        "airflow/test_manual_adoption.py::test_task_adopts_the_run_of_the_variable",
    ],
    "a decision is followed once": [
        "operators/test_manual_adoption.py::test_with_a_store_a_decision_is_followed_once_and_later_clears_begin_anew",
        "operators/test_manual_adoption.py::test_without_a_store_the_log_says_that_the_variable_must_go",
    ],
    "A run that stopped for want of credits": [
        "operators/test_run_retries.py::test_want_of_credits_burns_a_retry_only_where_the_retry_can_resume_the_run",
    ],
}

EVERY_TEST = sorted(
    {test for table in (CLOCKS, CANCELS, SERVICES, BESIDES) for tests in table.values() for test in tests}
)


def rows_under(title: str) -> list[str]:
    """The first cells of the table below a title."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(f"{title}\n"))
    cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return cells[2:]


@pytest.mark.parametrize(
    ("title", "covered"),
    [("The table of clocks", CLOCKS), ("What cancels a run", CANCELS), ("When Airflow itself fails", SERVICES)],
    ids=["clocks", "cancels", "services"],
)
def test_every_row_has_its_tests_and_every_entry_its_row(title: str, covered: dict[str, list[str]]) -> None:
    rows = rows_under(title)
    assert len(rows) >= 7
    for row in rows:
        assert [begin for begin in covered if row.startswith(begin)], f"no test is named for the row {row!r}"
    for begin, tests in covered.items():
        assert len([row for row in rows if row.startswith(begin)]) == 1, f"{begin!r} is not one row of {title!r}"
        assert tests


@pytest.mark.parametrize("words", BESIDES)
def test_what_is_said_beside_the_tables_is_still_said(words: str) -> None:
    assert words in " ".join(PAGE.split())
    assert BESIDES[words]


@cache
def module(name: str) -> tuple[str, frozenset[str]]:
    """The text of a test module, and the names of its tests."""
    text = (TESTS / name).read_text(encoding="utf-8")
    return text, frozenset(node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("test", EVERY_TEST)
def test_every_test_that_is_named_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    function, _, case = name.rstrip("]").partition("[")
    text, functions = module(path)
    assert function in functions
    assert f'"{case}"' in text or not case
