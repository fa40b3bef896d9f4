"""What an experiment will take and cost is told beforehand, as far as earlier runs say it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.experiment_rows import agent, dataset, pipelines, sample
from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.experiments.models import Cell
from openomni.api.fleet.models import Agent
from openomni.api.records.models import Session, Task, Turn


@pytest.fixture
def researcher(project: Project) -> Api:
    dataset(project, sample("plain"), sample("talk", 3))
    pipelines(project, "a", "b")
    agent(project, slots=2)
    return api_for(project, Scope.RESEARCHER)


def forecast(api: Api, name: str, **fields: Any) -> Any:
    body = {"dataset": "questions", "pipelines": ["a", "b"], "name": name} | fields
    api("POST", "/experiments", body, 202)
    return api("GET", f"/experiments/{name}/forecast")


def ran(label: str, seconds_a_turn: float, **usage: Any) -> None:
    """All cells of `first` through a pipeline have run, one turn of each with this usage."""
    now = timezone.now()
    for cell in Cell.objects.filter(experiment__name="first", pipeline__label=label).select_related("sample"):
        number = len(cell.sample.content["utterances"])
        Cell.objects.filter(pk=cell.pk).update(
            status="done", started_at=now - timedelta(seconds=number * seconds_a_turn), ended_at=now
        )
        session = Session.objects.create(project=cell.project, id=f"s-{cell.pk}")
        for index in range(number):
            turn = Turn.objects.create(
                project=cell.project, id=f"{cell.pk}-{index}", session=session, index=index, status="completed",
                pipeline_hash=cell.pipeline.hash,
            )  # fmt: skip
            Task.objects.create(project=cell.project, turn=turn, kind="llm", component="x", usage=usage)


def test_before_anything_ran_it_says_what_is_not_known(researcher: Api) -> None:
    found = forecast(researcher, "first", repeats=2)
    warming = Cell.objects.filter(repeat=0).select_related("sample").first()
    assert warming is not None
    turns = 2 * (2 * (1 + 3) + len(warming.sample.content["utterances"]))
    assert found == {
        "experiment": "first", "turns": turns, "takes_s": None, "at_least_s": None, "untimed": ["a", "b"],
        "costs": [], "unpriced": ["a", "b"],
    }  # fmt: skip


def test_what_ran_before_tells_time_and_money(researcher: Api) -> None:
    forecast(researcher, "first", repeats=2)
    ran("a", 4.0, cost=0.01, currency="USD")
    found = forecast(researcher, "second")
    assert (found["takes_s"], found["untimed"], found["unpriced"]) == (None, ["b"], ["b"])
    each = found["turns"] // 2
    assert found["costs"] == [{"currency": "USD", "cost": pytest.approx(0.01 * each)}]
    ran("b", 2.0, output_tokens=5)
    found = researcher("GET", "/experiments/second/forecast")
    assert found["takes_s"] == pytest.approx((4.0 + 2.0) * each / 2, rel=0.01), "two turns at a time"
    assert (found["untimed"], found["unpriced"]) == ([], ["b"])
    Cell.objects.filter(experiment__name="second", pipeline__label="a").update(status="done")
    assert researcher("GET", "/experiments/second/forecast")["takes_s"] == pytest.approx(2.0 * each / 2, rel=0.01)


def test_in_real_time_what_is_said_lasts_in_any_case(researcher: Api) -> None:
    Agent.objects.update(roles=["host", "caller"])
    forecast(researcher, "first")
    ran("a", 4.0)
    found = forecast(researcher, "live", pace="realtime")
    cells = Cell.objects.filter(experiment__name="live").select_related("sample")
    assert found["at_least_s"] == pytest.approx(sum(cell.sample.seconds for cell in cells))
    assert (found["takes_s"], found["untimed"]) == (None, ["a", "b"]), "at another pace it takes another time"
