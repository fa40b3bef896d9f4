"""What a task that was begun more than once took, and where."""

from __future__ import annotations

from openomni.pipeline.spec import StageSpec
from openomni.pipeline.task import AttemptTrace, TaskTrace
from openomni.trace import Span, partition

SPOKEN = 100.0
"""When the person's last sample was captured."""


def task_of(
    *attempts: AttemptTrace, ready: float = 100.1, ended: float = 101.0, status: str = "completed"
) -> TaskTrace:
    task = TaskTrace(StageSpec("llm", "it"))
    task.ready, task.ended, task.status, task.attempts = ready, ended, status, list(attempts)
    return task


def lost(number: int, opened: float, ended: float, **stamps: float) -> AttemptTrace:
    return AttemptTrace(
        number, f"a{number}", opened, claimed=opened, ended=ended, status="failed", agent_lost=True, **stamps
    )


def good(number: int, claimed: float, ended: float, **stamps: float) -> AttemptTrace:
    return AttemptTrace(
        number, f"a{number}", claimed, claimed=claimed, model_started=claimed, ended=ended, status="completed", **stamps
    )


def owners(task: TaskTrace, audible: float) -> list[tuple[str, float]]:
    end_of_turn = Span("end_of_turn", "end_of_turn", SPOKEN, task.ready)
    parts = partition([end_of_turn, *task.spans()], f"{task.task_id}.model", SPOKEN, audible)
    return [(part.what, round(part.seconds, 6)) for part in parts]


def test_what_lost_attempts_took_is_nobodys_queue() -> None:
    task = task_of(lost(1, 100.15, 100.4), lost(2, 100.5, 100.6), good(3, 100.7, 101.0, first_output=100.9))

    record = task.record(SPOKEN)
    assert (record.queue_s, record.lost_s, record.model_s) == (0.25, 0.35, 0.3)
    assert owners(task, 101.0) == [
        ("end_of_turn", 0.1),
        ("queue", 0.05),
        ("lost", 0.25),
        ("queue", 0.1),
        ("lost", 0.1),
        ("queue", 0.1),
        ("model", 0.3),
    ]


def test_a_voice_whose_first_attempt_was_heard_owes_its_first_sound_to_that() -> None:
    task = task_of(lost(1, 100.1, 100.8, first_output=100.5), good(2, 100.9, 101.0, first_output=100.95))

    assert owners(task, 100.5) == [("end_of_turn", 0.1), ("model", 0.4)]
    record = task.record(SPOKEN)
    assert (record.queue_s, record.lost_s, record.model_s) == (0.1, 0.0, 0.8), "what was heard was not lost"


def test_a_task_that_nobody_claimed_waited_to_its_end() -> None:
    nobody = task_of(ready=100.1, ended=105.1, status="failed").record(SPOKEN)
    assert (nobody.queue_s, nobody.lost_s, nobody.model_s) == (5.0, None, None)

    no_slot = task_of(AttemptTrace(1, "here", 100.1, ended=102.1, status="failed"), ended=102.1, status="failed")
    assert (no_slot.record(SPOKEN).queue_s, no_slot.record(SPOKEN).lost_s) == (2.0, 0.0)


def test_a_task_whose_only_agent_was_lost_waited_for_another() -> None:
    record = task_of(lost(1, 100.2, 100.4), ended=105.4, status="failed").record(SPOKEN)
    assert (record.queue_s, record.lost_s, record.model_s) == (5.1, 0.2, None)


def test_a_model_that_failed_elsewhere_was_not_lost() -> None:
    raised = AttemptTrace(1, "there", 100.2, claimed=100.2, ended=101.0, status="failed")
    record = task_of(raised, status="failed").record(SPOKEN)
    assert (record.queue_s, record.lost_s, record.model_s) == (0.1, 0.0, 0.8)
