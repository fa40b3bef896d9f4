"""What turns cost: what is known is added up, and what isn't is told."""

from __future__ import annotations

import pytest

from api.support import Api
from api.test_latency_report import session_of, task_of, turn_of
from openomni.api.accounts.models import Project


def test_costs_are_added_up_and_what_is_unknown_is_told(project: Project, admin: Api) -> None:
    session = session_of(project)
    for cents in (0.25, 0.75):
        turn = turn_of(session, pipeline="paid")
        task_of(turn, "llm", usage={"cost": cents, "currency": "USD"})
        task_of(turn, "tts", usage={"cost": 1.0, "currency": "USD"}, status="failed")
        task_of(turn, "emotion", status="cancelled", agent="")  # nobody ever took it
    partly = turn_of(session, pipeline="paid", status="failed")
    task_of(partly, "llm", usage={"cost": 2.0, "currency": "USD"})
    task_of(partly, "tts", usage={"cost": None, "currency": ""})
    task_of(turn_of(session, pipeline="free"))
    task_of(turn_of(session, pipeline="paid", origin="bench"), usage={"cost": 100.0, "currency": "USD"})
    free, paid = admin("GET", "/reports/cost")["rows"]
    assert paid == {
        "pipeline": "paid", "pipeline_hash": "h1", "turns": 3, "cost": pytest.approx(5.0), "currency": "USD",
        "per_turn": pytest.approx(1.5), "unknown": 1,
    }  # fmt: skip
    assert free == {
        "pipeline": "free", "pipeline_hash": "h1", "turns": 1, "cost": None, "currency": None, "per_turn": None,
        "unknown": 1,
    }  # fmt: skip


def test_each_currency_has_a_row(project: Project, admin: Api) -> None:
    turn = turn_of(session_of(project))
    task_of(turn, "llm", usage={"cost": 1.0, "currency": "USD"})
    task_of(turn, "tts", usage={"cost": 2.0, "currency": "EUR"})
    rows = admin("GET", "/reports/cost?pipeline=local")["rows"]
    assert [(row["currency"], row["cost"], row["turns"]) for row in rows] == [("EUR", 2.0, 1), ("USD", 1.0, 1)]
    assert admin("GET", "/reports/cost?session=another")["rows"] == []
