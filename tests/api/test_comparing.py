"""The comparison over HTTP: made of standing scores, cells that ended and times in models; per sample, too."""

from __future__ import annotations

from typing import Any

import pytest

from api.experimented import experimented
from api.support import Api
from openomni.api.accounts.models import Project
from openomni.api.experiments import comparing
from openomni.api.experiments.models import Cell, Experiment
from openomni.api.scores.giving import give
from openomni.api.scores.models import Metric, Rater, Score, Target


@pytest.fixture
def which(project: Project) -> Experiment:
    return experimented(project)


def row(found: Any, metric: str, statistic: str, pipeline: str) -> Any:
    (entry,) = [each for each in found["metrics"] if (each["metric"], each["statistic"]) == (metric, statistic)]
    return next(each for each in entry["pipelines"] if each["pipeline"] == pipeline)


def test_an_experiment_is_compared_by_what_was_scored_and_by_time_in_models(admin: Api, which: Experiment) -> None:
    found = admin("GET", "/experiments/which/comparison")
    assert found["baseline"] == "local"
    assert {each["metric"] for each in found["metrics"]} == {"turn_s", "wer", "cost", "stt.model_s"}
    assert found["axes"] == {"latency": "turn_s", "accuracy": "wer", "cost": "cost"}
    quick = row(found, "turn_s", "mean", "local-quick")
    assert (quick["planned"], quick["run"], quick["scored"], quick["verdict"]) == (24, 24, 24, "better")
    low, high = quick["difference_interval"]
    assert low < -0.2 < high
    assert (quick["pipeline_hash"], quick["non_inferior"]) == ("1" * 64, True)
    assert row(found, "wer", "rate", "local-quick")["verdict"] == "worse"
    # One run of its last sample failed: endless for its latency, which has a median and no mean.
    twin = row(found, "turn_s", "p50", "local-twin")
    assert (twin["verdict"], twin["scored"], twin["unanswered"]) == ("tied", 23, 1)
    assert row(found, "turn_s", "mean", "local-twin")["reason"].startswith("1 of 24 samples failed")
    assert row(found, "stt.model_s", "p50", "local-twin")["unanswered"] == 1
    assert [each["share"] for each in found["varies"]] == [0, 0, 1]


def test_the_data_sheet_tells_the_word_error_rate_of_local(admin: Api, which: Experiment) -> None:
    found = admin("GET", "/datasets/which-questions")["wer_of_local"]
    value = row(admin("GET", "/experiments/which/comparison"), "wer", "rate", "local")["value"]
    assert (found["wer"], found["experiment"]) == (pytest.approx(value), "which")
    assert found["words"] == 24 * 2 * 10
    # Where the recogniser was given the reference, it recognised nothing.
    Experiment.objects.update(given={"stt": "reference"})
    assert admin("GET", "/datasets/which-questions")["wer_of_local"] is None


def test_another_baseline_and_only_some_metrics(admin: Api, which: Experiment) -> None:
    found = admin("GET", "/experiments/which/comparison?baseline=local-quick&metrics=wer,cost")
    assert [each["metric"] for each in found["metrics"]] == ["wer", "cost"]
    assert row(found, "wer", "rate", "local")["verdict"] == "better"
    for query, nearest in (("baseline=lokal", "local"), ("metrics=wer,wre", "wer")):
        assert nearest in admin.error("GET", f"/experiments/which/comparison?{query}", status=404)
    assert "which" in admin.error("GET", "/experiments/wich/comparison", status=404)


def test_a_score_given_again_counts_once_and_makes_the_comparison_anew(admin: Api, which: Experiment) -> None:
    before = row(admin("GET", "/experiments/which/comparison"), "cost", "mean", "local")
    metric, rater = Metric.objects.get(name="cost"), Rater.objects.get()
    for cell in Cell.objects.filter(pipeline__label="local"):
        give(metric, rater, Target.CELL, cell.pk, value=0.5)
    after = row(admin("GET", "/experiments/which/comparison"), "cost", "mean", "local")
    assert (before["value"], after["value"], after["scored"]) == (pytest.approx(0.001), pytest.approx(0.5), 24)


def test_warm_up_and_cells_that_have_not_run_are_not_measured(admin: Api, which: Experiment) -> None:
    first = Cell.objects.filter(sample__sample_id="q00")
    first.filter(repeat=2).update(repeat=0)
    first.filter(repeat=1).update(status="planned")
    Score.objects.filter(target_id__in=first.filter(repeat=1).values("pk")).delete()
    found = row(admin("GET", "/experiments/which/comparison?metrics=cost"), "cost", "mean", "local")
    assert (found["planned"], found["run"], found["scored"]) == (24, 23, 23)


def test_an_unanswered_run_is_endless_and_a_metric_that_failed_is_not(which: Experiment) -> None:
    metric, rater = Metric.objects.get(name="turn_s"), Rater.objects.get()
    cells = list(Cell.objects.filter(pipeline__label="local", repeat=1).order_by("sample__position")[:2])
    give(metric, rater, Target.CELL, cells[0].pk, outcome="not_applicable", detail={"unanswered": 1, "turns": 0})
    give(metric, rater, Target.CELL, cells[1].pk, outcome="failed", reason="it raised")
    found = row(comparing.compared(which, metrics=["turn_s"]), "turn_s", "p50", "local")
    assert (found["unanswered"], found["scored"]) == (1, 23)


def test_scores_of_turns_and_of_all_repeats_are_compared_too(project: Project, which: Experiment) -> None:
    rater = Rater.objects.get()
    liked = Metric.objects.create(project=project, name="liked", version="1", takes="turn", better="higher")
    steady = Metric.objects.create(project=project, name="steady", version="1", takes="repeats", better="higher")
    for cell in Cell.objects.select_related("pipeline"):
        good = cell.pipeline.label == "local-quick"
        give(liked, rater, Target.TURN, f"t{cell.pk}", value=4 + good)
        give(steady, rater, Target.REPEATS, f"{which.pk}:{cell.pipeline_id}:{cell.sample_id}", value=0.5 + good / 4)
    found = comparing.compared(which, metrics=["liked", "steady"])
    assert row(found, "liked", "mean", "local-quick")["difference"] == pytest.approx(1)
    steadier = row(found, "steady", "mean", "local-quick")
    assert (steadier["difference"], steadier["scored"]) == (pytest.approx(0.25), 24)


def test_sample_by_sample_with_the_sessions_to_listen_to(admin: Api, which: Experiment) -> None:
    found = admin("GET", "/experiments/which/comparison/samples?metric=turn_s")
    assert len(found["samples"]) == 24
    local, quick, twin = found["samples"][-1]["pipelines"]
    assert (local["outcome"], quick["outcome"], twin["outcome"]) == (None, "won", "lost")
    assert (twin["value"], twin["unanswered"]) == (None, True)
    assert quick["value"] < local["value"]
    assert len(quick["sessions"]) == 2
    assert "turn_s" in admin.error("GET", "/experiments/which/comparison/samples?metric=turns", status=404)


def test_what_it_detects_is_known_before_it_runs_in_units_where_an_earlier_one_was_measured(
    admin: Api, which: Experiment
) -> None:
    alone = admin("GET", "/experiments/which/detectable")
    assert (alone["samples"], alone["groups"], alone["comparisons"], alone["metrics"]) == (24, 24, 2, [])
    assert 0.5 < alone["in_sd"] < 1
    again = Experiment.objects.create(
        project=which.project, name="again", dataset=which.dataset, baseline="local", repeats=2
    )
    for row in which.pipelines.all():
        row.pk, row.experiment = None, again
        row.save()
    found = admin("GET", "/experiments/again/detectable")
    assert (found["measured_in"], found["in_sd"]) == ("which", alone["in_sd"])
    assert admin("GET", "/experiments/again/forecast")["turns"] == 0, "nothing of it is planned"
    by_metric = {each["metric"]: each["difference"] for each in found["metrics"]}
    # Runs of the fixture scatter by 0.02 s, two repeats of them and of the baseline's by as much.
    assert by_metric["turn_s"] == pytest.approx(0.02 * alone["in_sd"], rel=0.5)
