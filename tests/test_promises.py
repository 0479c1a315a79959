"""Each row of the tables in docs/promises.md, and each exit of a task, has its test in the suite that CI runs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")

RUN_TIMEOUTS = "operators/test_run_timeouts.py"
KILLS = "operators/test_run_kills.py"
TRIGGER_KILLS = "operators/test_trigger_kills.py"
FAILED_TRIGGERS = "operators/test_failed_triggers.py"
EXITS = "airflow/test_exits.py"
FAULTS = "faults/test_faults.py"
OUTAGES = "operators/test_airflow_outages.py"
LATE = "operators/test_late_resumes.py"

#: By the first words of a row; a part of a test's parameter in brackets must be found in its module.
TIMEOUTS = {
    "one request": [
        "clients/test_send.py::test_connect_timeout_has_no_effect",
        "clients/test_send.py::test_slow_calls_have_a_longer_timeout",
    ],
    "all pages of a list": [
        "api/test_paging.py::test_pages_that_take_too_long_are_an_error",
        "durable/test_create_once.py::test_a_search_of_slow_lists_ends_with_the_next_reading",
        "triggers/test_endless_lists.py::test_a_watch_logs_that_the_list_has_no_end_and_misses_nothing[slow pages]",
    ],
    "the wait for a run": [
        f"{RUN_TIMEOUTS}::test_timeout_cancels_the_run_and_fails_without_retries",
        "operators/test_run_options.py::test_deadline_is_that_of_the_first_attempt",
        "operators/test_run_options.py::test_new_run_of_a_retry_keeps_the_deadline",
        "operators/test_run_options.py::test_retry_after_the_deadline_cancels_a_running_run",
        "operators/test_existing_runs.py::test_timeout_cancels_the_run_and_fails_without_retries",
        "triggers/test_triggers.py::test_a_restart_does_not_extend_the_deadline",
        f"{EXITS}::test_exit_cancels_the_run[timeout on a worker]",
        f"{EXITS}::test_exit_cancels_the_run[timeout while deferred]",
    ],
    "the wait for a post": [
        "operators/test_posts.py::test_timeout_of_a_scheduled_post_counts_from_its_schedule",
        "operators/test_posts.py::test_timed_out_post_is_not_withdrawn_and_never_created_again",
        "triggers/test_triggers.py::test_the_deadline_of_a_post",
    ],
    "errors while polling": [
        "api/test_poll_state.py::test_many_errors_that_last_end_the_wait",
        "api/test_poll_state.py::test_many_errors_in_a_short_time_are_tolerated",
        "api/test_poll_state.py::test_few_errors_in_a_long_time_are_tolerated",
        "triggers/test_triggers.py::test_the_twentieth_error_in_a_row_ends_the_wait",
    ],
    "404 while polling": [
        "api/test_poll_state.py::test_not_found_ends_the_wait_after_a_minute",
        "api/test_poll_state.py::test_only_not_found_in_a_row_counts",
        "api/test_poll_state.py::test_not_found_does_not_end_a_new_wait",
        "triggers/test_triggers.py::test_not_found_that_lasts_ends_the_wait",
    ],
    "refusals while polling": [
        "api/test_poll_state.py::test_several_refusals_that_last_end_the_wait_and_may_be_retried",
        "api/test_poll_state.py::test_many_refusals_in_a_short_time_and_few_in_a_long_time_are_tolerated",
        "api/test_poll_state.py::test_only_refusals_in_a_row_count",
        "triggers/test_triggers.py::test_the_fifth_refusal_in_a_row_ends_the_wait_and_is_transient",
        "triggers/test_triggers.py::test_refusals_within_five_minutes_are_tolerated",
        f"{OUTAGES}::test_lookups_that_fail_for_minutes_fail_the_attempt_not_the_task",
        "sensors/test_airflow_outages.py::test_poking_sensor_tolerates_failed_lookups_for_minutes",
        "triggers/test_triggers.py::test_a_wait_continues_when_its_connection_is_back",
        "triggers/test_triggers.py::test_a_missing_connection_ends_the_wait_and_is_named",
    ],
    "shortest deferral": [
        "triggers/test_poller.py::test_a_deferral_lasts_longer_than_a_heartbeat",
        "triggers/test_poller.py::test_the_heartbeat_interval_has_a_default",
        "triggers/test_poller.py::test_the_heartbeat_interval_is_read_from_the_configuration",
    ],
    "Airflow's `execution_timeout`": [
        f"{RUN_TIMEOUTS}::test_execution_timeout_cancels_the_run_and_allows_a_retry",
        f"{RUN_TIMEOUTS}::test_execution_timeout_counts_while_the_task_is_deferred",
        f"{RUN_TIMEOUTS}::test_second_deferral_does_not_extend_the_deadline",
        f"{EXITS}::test_exit_cancels_the_run[execution_timeout on a worker]",
        f"{EXITS}::test_exit_cancels_the_run[execution_timeout while deferred]",
    ],
    "the trigger's limit": [
        f"{RUN_TIMEOUTS}::test_trigger_timeout_cancels_the_run_before_the_task_fails",
        f"{LATE}::test_trigger_timeout_fails_the_task_only_if_the_run_has_not_ended",
        f"{EXITS}::test_exit_cancels_the_run[Airflow's limit on the trigger]",
    ],
    "a sensor's `timeout`": [
        "sensors/test_run_sensor.py::test_second_deferral_does_not_extend_the_deadline",
        "sensors/test_all_sensors.py::test_timeout",
    ],
    "a sensor's `execution_timeout`": [
        "sensors/test_all_sensors.py::test_execution_timeout_while_deferred",
    ],
}

CANCELS = {
    "a task on a worker is killed": [
        f"{KILLS}::test_kill_during_the_wait_cancels_the_run",
        f"{KILLS}::test_kill_during_the_start_cancels_the_run_once_its_id_is_known",
        f"{KILLS}::test_kill_cancels_within_seconds_when_the_server_hangs",
        f"{EXITS}::test_exit_cancels_the_run[a task on a worker is marked failed]",
        f"{EXITS}::test_exit_cancels_the_run[a task on a worker is marked success]",
        f"{FAULTS}::test_kill_point[SIGTERM while polling]",
    ],
    "Airflow kills a task on a worker because its API server is down": [
        f"{OUTAGES}::test_kill_during_an_outage_of_the_api_server_does_not_cancel_the_run",
        "durable/test_outages.py::test_the_health_endpoint_shows_an_outage",
        "durable/test_outages.py::test_a_server_that_does_not_respond_is_unreachable_within_the_timeout",
    ],
    "the process of a worker is killed by SIGKILL": [
        "operators/test_run_retries.py::test_retry_continues_with_an_active_run",
        f"{FAULTS}::test_kill_point[after the deferral: before the first poll, killed]",
    ],
    "a worker stalls for longer than": [
        f"{KILLS}::test_kill_of_an_attempt_that_another_one_has_replaced_keeps_the_run",
        f"{KILLS}::test_timeout_of_an_attempt_that_another_one_has_replaced_keeps_the_run",
        f"{KILLS}::test_kill_cancels_the_run_if_it_is_unknown_whether_the_attempt_was_replaced",
    ],
    "a deferred task is marked failed, marked success or cleared": [
        f"{TRIGGER_KILLS}::test_killed_trigger_cancels_the_run_unless_its_task_is_still_deferred",
        "operators/test_run_options.py::test_clear_of_a_deferred_task_is_not_affected_by_the_late_kill",
        "operators/test_run_options.py::test_clear_cancels_the_old_run_if_its_trigger_did_not",
        "operators/test_existing_runs.py::test_clear_of_a_deferred_task_resumes_the_run_after_the_late_kill",
        "airflow/test_cleared_resume.py::test_run_continues_when_its_deferred_resume_is_cleared",
        f"{EXITS}::test_exit_cancels_the_run[a deferred task is marked failed]",
        f"{EXITS}::test_exit_cancels_the_run[a deferred task is marked success]",
    ],
    "the DAG run exceeds its `dagrun_timeout`": ["airflow/test_dag_run_ends.py::test_run_is_cancelled"],
    "a task is marked, or ended with its DAG run, while it is neither": [
        f"{FAULTS}::test_kill_point[task marked failed while it waits for its retry]",
    ],
    "the triggerer or the scheduler is restarted, moved, stalls, or dies": [
        f"{EXITS}::test_restarts_and_dag_changes_keep_the_run",
        f"{TRIGGER_KILLS}::test_killed_trigger_cancels_the_run_unless_its_task_is_still_deferred",
        f"{TRIGGER_KILLS}::test_killed_trigger_cancels_the_run_only_if_the_state_of_its_task_can_be_read",
        "triggers/test_triggers.py::test_a_restart_does_not_extend_the_deadline",
    ],
    "the task's `timeout`, its `execution_timeout`, or Airflow's own limit": [
        *TIMEOUTS["the wait for a run"],
        *TIMEOUTS["Airflow's `execution_timeout`"],
        *TIMEOUTS["the trigger's limit"],
    ],
    "polling fails permanently": [
        f"{FAILED_TRIGGERS}::test_trigger_that_failed_after_errors_keeps_the_run_for_the_retry",
        f"{FAILED_TRIGGERS}::test_trigger_with_a_wrong_key_fails_without_retries",
    ],
    "a `MosaicRunSensor` ends": [
        "sensors/test_run_sensor.py::test_killed_trigger_of_the_sensor_cancels_nothing",
        "airflow/test_waiting_for_a_run.py::test_sensor_marked_failed_does_not_cancel_the_run",
    ],
}

SERVICES = {
    "the lookup of the connection, before": [
        f"{OUTAGES}::test_failed_lookup_at_the_start_is_left_to_the_retries",
        f"{OUTAGES}::test_retry_starts_the_run_after_a_failed_lookup",
        "sensors/test_airflow_outages.py::test_lasting_failed_lookups_fail_the_attempt_and_skip_nothing",
    ],
    "the lookup of the connection, during": [
        f"{OUTAGES}::test_failed_lookup_after_the_deferral_is_tolerated",
        "sensors/test_airflow_outages.py::test_deferred_sensor_fails_the_attempt_after_lasting_failed_lookups",
        f"{FAULTS}::test_kill_point[connection lookup fails at the trigger's first poll]",
    ],
    "saving the intent": [
        f"{OUTAGES}::test_nothing_is_sent_when_the_intent_cannot_be_recorded",
    ],
    "saving an id, or an XCom": [
        f"{OUTAGES}::test_run_is_waited_for_when_its_xcom_cannot_be_pushed",
        f"{OUTAGES}::test_item_is_owned_when_its_xcom_cannot_be_pushed",
        f"{OUTAGES}::test_id_that_cannot_be_recorded_is_logged",
        f"{FAULTS}::test_kill_point[XCom cannot be written after the start]",
    ],
    "reading the task state store": [
        f"{OUTAGES}::test_unreadable_store_is_left_to_the_retries",
        f"{OUTAGES}::test_unreadable_store_does_not_block_a_cleared_task",
    ],
    "the value of a saved entry is missing": [
        f"{OUTAGES}::test_missing_value_of_an_entry_means_unknown",
        f"{FAULTS}::test_kill_point[state store has lost the entry before the retry]",
    ],
    "reading the Variable": [f"{OUTAGES}::test_unreadable_variable_is_not_taken_for_none"],
    "the API server, while a task waits": [*CANCELS["Airflow kills a task on a worker because its API server is down"]],
    "the API server, while a task is deferred": [
        f"{EXITS}::test_restarts_and_dag_changes_keep_the_run",
    ],
}

#: What is said beside the tables.
STATEMENTS = {
    "`cancel_on_kill=False` keeps the run running": [
        f"{RUN_TIMEOUTS}::test_timeout_without_cancel_on_kill_keeps_the_run",
        f"{KILLS}::test_kill_without_cancel_on_kill_keeps_the_run",
        f"{TRIGGER_KILLS}::test_killed_trigger_without_cancel_on_kill_keeps_the_run",
        f"{RUN_TIMEOUTS}::test_trigger_timeout_without_cancel_on_kill_keeps_the_run",
        "operators/test_run_options.py::test_clear_without_cancel_on_kill_keeps_the_old_run",
        f"{EXITS}::test_exit_cancels_the_run[a deferred task is marked failed, cancel_on_kill=False]",
    ],
    "reads the run or the post once more before it acts on a timeout": [
        f"{LATE}::test_run_that_ended_while_the_task_was_queued_is_taken",
        f"{LATE}::test_post_that_was_published_while_the_task_was_queued_is_taken",
        "sensors/test_airflow_outages.py::test_item_that_ended_while_the_sensor_was_queued_is_taken",
    ],
    "When a user clears a task, it starts a new run": [
        "operators/test_run_options.py::test_clear_starts_a_new_run",
        "operators/test_run_options.py::test_clear_starts_a_new_run_whatever_the_old_status",
        "operators/test_post_promises.py::test_clear_creates_a_new_post",
    ],
    "`MosaicResumeRunOperator` always resumes its own run": [
        "operators/test_existing_runs.py::test_clear_waits_a_quarter_of_a_minute_for_a_kill_that_never_comes",
    ],
    "name it in an Airflow Variable": [
        "operators/test_manual_adoption.py::test_named_run_is_continued",
        "operators/test_manual_adoption.py::test_named_post_is_continued",
        "operators/test_manual_adoption.py::test_named_profile_is_continued",
        "airflow/test_manual_adoption.py::test_task_adopts_the_run_of_the_variable",
    ],
    "the Variable is used once": [
        "operators/test_manual_adoption.py::test_with_a_store_a_variable_is_used_once",
        "operators/test_manual_adoption.py::test_without_a_store_the_log_asks_to_delete_the_variable",
    ],
    "If a response to its cancel was lost": [
        f"{RUN_TIMEOUTS}::test_own_cancel_whose_response_was_lost_lets_a_retry_resume_the_run",
        f"{RUN_TIMEOUTS}::test_execution_timeout_during_the_cancel_at_the_timeout_lets_a_retry_resume_the_run",
        f"{RUN_TIMEOUTS}::test_lost_cancel_of_a_run_that_the_last_poll_did_not_show_lets_no_retry_resume_it",
        f"{KILLS}::test_kill_whose_cancel_lost_its_response_lets_a_retry_resume_the_run",
    ],
    "a cancel that gets a 404 is sent again": [
        f"{KILLS}::test_kill_sends_a_cancel_again_that_gets_a_404",
        f"{TRIGGER_KILLS}::test_killed_trigger_sends_a_cancel_again_that_gets_a_404_and_then_reads_the_run",
        f"{RUN_TIMEOUTS}::test_cancel_at_the_timeout_that_gets_a_404_is_sent_again",
        "operators/test_existing_runs.py::test_cancel_of_a_running_run_that_gets_a_404_is_sent_again",
    ],
    "A run that stopped because credits ran out": [
        "operators/test_run_retries.py::test_missing_credits_are_retried_only_if_the_retry_can_resume",
    ],
}

EVERY_TEST = sorted(
    {test for table in (TIMEOUTS, CANCELS, SERVICES, STATEMENTS) for tests in table.values() for test in tests}
)


def rows_under(title: str) -> list[str]:
    """Return the first cell of each row of the table below a title."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(f"{title}\n"))
    cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return cells[2:]


@pytest.mark.parametrize(
    ("title", "covered"),
    [("All timeouts", TIMEOUTS), ("What cancels a run", CANCELS), ("When Airflow itself fails", SERVICES)],
    ids=["timeouts", "cancels", "services"],
)
def test_every_row_has_tests(title: str, covered: dict[str, list[str]]) -> None:
    rows = rows_under(title)
    assert len(rows) >= 7
    for row in rows:
        assert [start for start in covered if row.startswith(start)], f"no test is named for the row {row!r}"
    for start, tests in covered.items():
        assert len([row for row in rows if row.startswith(start)]) == 1, f"{start!r} is not one row of {title!r}"
        assert tests


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_statement_is_on_the_page(statement: str) -> None:
    assert statement in " ".join(PAGE.split())
    assert STATEMENTS[statement]


@cache
def module(name: str) -> tuple[str, frozenset[str]]:
    """Return the text of a test module and the names of its tests."""
    text = (TESTS / name).read_text(encoding="utf-8")
    return text, frozenset(node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("test", EVERY_TEST)
def test_every_named_test_exists(test: str) -> None:
    path, _, name = test.partition("::")
    function, _, case = name.rstrip("]").partition("[")
    text, functions = module(path)
    assert function in functions
    assert f'"{case}"' in text or not case
