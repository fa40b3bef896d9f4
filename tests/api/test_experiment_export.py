"""An experiment goes out as a folder that opens offline, and comes in elsewhere with the same figures."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from api.experimented import experimented
from api.support import Api
from openomni.api.accounts.models import Project
from openomni.api.datasets.models import DatasetUtterance
from openomni.api.experiments.models import Cell, Experiment
from openomni.api.scores.giving import give
from openomni.api.scores.models import Metric, Outcome, Rater, Score, Target
from openomni.cli.experiment_export import parts
from openomni.errors import WrongUsage
from openomni.evaluation import publishing


@pytest.fixture
def which(project: Project) -> Experiment:
    """With an unanswered run, one that no metric could tell, and a cell that never ran."""
    made = experimented(project, samples=22)
    metric, rater = Metric.objects.get(name="turn_s"), Rater.objects.get()
    first, second, third = Cell.objects.filter(pipeline__label="local", repeat=1).order_by("sample__position")[:3]
    give(metric, rater, Target.CELL, first.pk, outcome=Outcome.NOT_APPLICABLE, detail={"unanswered": 1})
    give(Metric.objects.get(name="wer"), rater, Target.CELL, second.pk, outcome=Outcome.NOT_APPLICABLE,
         detail={"errors": 2, "total": 0})  # fmt: skip
    Score.objects.filter(target_id=third.pk).delete()
    Cell.objects.filter(pk=third.pk).update(status="planned")
    return made


def brought_in(api: Api, bundle: dict[str, Any], name: str) -> None:
    dataset = bundle["dataset"] | {"samples": len(bundle["dataset"]["samples"])}
    about = {key: bundle[key] for key in ("experiment", "pipelines", "metrics")}
    api(
        "POST",
        f"/experiments/{name}/import",
        about | {"dataset": dataset, "varies": bundle["comparison"]["varies"]},
        201,
    )
    for part in parts(bundle):
        api("POST", f"/experiments/{name}/import/rows", part)


def test_another_server_compares_it_with_the_same_figures(admin: Api, stranger: Api, which: Experiment) -> None:
    bundle = admin("GET", "/experiments/which/export")
    for _ in range(2):  # a part may come twice
        brought_in(stranger, bundle, "theirs")
    ours, theirs = admin("GET", "/experiments/which/comparison"), stranger("GET", "/experiments/theirs/comparison")
    for one, other in zip(ours["metrics"], theirs["metrics"], strict=True):
        for mine, its in zip(one.pop("pipelines"), other.pop("pipelines"), strict=True):
            assert its == mine, one
        assert one == other
    assert theirs | {"experiment": "which"} == ours
    assert ours["metrics"]
    again = stranger("GET", "/experiments/theirs/export")
    assert again["dataset"]["samples"] == bundle["dataset"]["samples"]
    assert sorted(map(str, again["scores"])) == sorted(map(str, bundle["scores"]))
    assert DatasetUtterance.objects.filter(project="ward").count() == 22  # who is heard in them is found, and erased


def test_nothing_is_added_to_an_experiment_of_ones_own_or_under_a_name_that_is_taken(
    admin: Api, which: Experiment
) -> None:
    bundle = admin("GET", "/experiments/which/export")
    about = {key: bundle[key] for key in ("experiment", "pipelines", "metrics")}
    about["dataset"] = bundle["dataset"] | {"samples": 22}
    assert "another name" in admin.error("POST", "/experiments/which/import", about, status=409)
    assert "own" in admin.error("POST", "/experiments/which/import/rows", {}, status=409)
    admin("POST", "/experiments/copy/import", about, 201)
    row = {"sample": "q99", "pipeline": "local", "repeat": 1, "order": 0, "status": "done"}
    assert "q99" in admin.error("POST", "/experiments/copy/import/rows", {"cells": [row]}, status=400)
    about["experiment"] = about["experiment"] | {"baseline": "nobody"}
    assert "nobody" in admin.error("POST", "/experiments/other/import", about, status=400)


class Reads(HTMLParser):
    """What a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [
            value
            for name, value in attrs
            if value and name in ("src", "href", "xlink:href") and not value.startswith("#")
        ]


def test_the_folder_opens_offline_and_holds_what_a_paper_needs(admin: Api, which: Experiment, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib: ./setup evaluation")
    import pyarrow.parquet

    bundle = admin("GET", "/experiments/which/export")
    out = tmp_path / "paper"
    files = publishing.write(bundle, out)
    assert {"index.html", "experiment.json", "manifest.json", "methods.txt", "tables/comparison.tex", "cells.csv",
            "cells.parquet", "scores.csv", "scores.parquet", "comparison.csv", "comparison.parquet",
            "figures/front.svg", "figures/front.pdf", "figures/turn_s-p50.pdf"} <= set(files)  # fmt: skip
    page = Reads()
    page.feed((out / "index.html").read_text())
    assert page.outside == []
    assert "script" not in page.tags
    assert page.tags.count("figure") >= 4
    rows = list(csv.DictReader((out / "comparison.csv").open()))
    kept = pyarrow.parquet.read_table(out / "comparison.parquet").to_pylist()
    assert len(rows) == len(kept) == sum(len(each["pipelines"]) for each in bundle["comparison"]["metrics"])
    wanted = [row["value"] for each in bundle["comparison"]["metrics"] for row in each["pipelines"]]
    assert [row["value"] for row in kept] == wanted
    tex = (out / "tables" / "comparison.tex").read_text()
    assert r"turn\_s (p50, s)" in tex
    assert tex.count(r"\midrule") == len(bundle["comparison"]["metrics"])
    methods = (out / "methods.txt").read_text()
    assert "22 samples" in methods
    assert "sign-flip permutation test" in methods
    assert publishing.read(out) == json.loads(json.dumps(bundle))
    with pytest.raises(WrongUsage, match="there already"):
        publishing.write(bundle, out)


def test_what_is_no_exported_experiment_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text('{"format": "openomni.experiment/9"}')
    for path, why in ((tmp_path, "experiment/9"), (tmp_path / "nowhere", "can't read"), (Path(__file__), "no JSON")):
        with pytest.raises(WrongUsage, match=why):
            publishing.read(path)
