"""Experiments are scored by programs: each run once a version, whatever a metric does, and no error is dropped."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.datasets.models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from openomni.api.erasure.erase import erase
from openomni.api.experiments import measurements, scores_rest, scoring, scoring_choice
from openomni.api.experiments.models import Cell, Experiment, ExperimentPipeline
from openomni.api.experiments.run_reading import runs_of
from openomni.api.ground.erasing import Subject
from openomni.api.media.store import storage
from openomni.api.records.models import Recording, Session, Task, Turn
from openomni.api.scores.models import Metric, Outcome, Rater, Score, Target
from openomni.media import Audio
from openomni.metrics import scorer
from openomni.metrics.child import Child
from openomni.metrics.scorer import Scorer

REPEATS = 2
PIPELINES = ("fast", "slow")
TEXTS = ("good morning", "what is the time")
OWN = '''from openomni import metric
import time

@metric("{name}", version="1", takes="{takes}")
def made(run):
    """For a test."""
    {body}
'''


class InProcess(Scorer):
    """Answers as its child does, without the second that a process takes to start."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self._child = Child()

    def _asked(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        return scorer._answer(json.loads(json.dumps(self._child.answered(json.loads(json.dumps(order))))))


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No scoring of a test before, whose rows had the same numbers; and no process, but where that is the matter."""
    scoring._progress.clear()
    if "process" not in request.fixturenames:
        for module in (scoring, scores_rest):
            monkeypatch.setattr(module, "Scorer", InProcess)
    yield
    scoring._progress.clear()


@pytest.fixture
def process() -> None:
    """Metrics run in a process of their own, as in life."""


@pytest.fixture
def experiment(project: Project) -> Experiment:
    """Two samples × two pipelines × two repeats, all run, with a warm-up cell of each pipeline."""
    dataset = Dataset.objects.create(project=project, name="d")
    version = DatasetVersion.objects.create(project=project, dataset=dataset, number=1, hash="h", samples=2)
    made = Experiment.objects.create(project=project, name="e", dataset=version, baseline="fast", repeats=REPEATS)
    samples = []
    for place, text in enumerate(TEXTS):
        said = {"sound": {"path": f"said{place}"}, "text": text, "language": "en"}
        row = DatasetSample.objects.create(
            project=project, version=version, position=place, sample_id=f"s{place}", hash="h",
            content={"id": f"s{place}", "utterances": [said]},
        )  # fmt: skip
        DatasetUtterance.objects.create(
            project=project, sample=row, index=0, recording=f"said{place}", participant="p1"
        )
        samples.append(row)
    for place, name in enumerate(PIPELINES):
        pipeline = ExperimentPipeline.objects.create(
            project=project, experiment=made, place=place, label=name, name=name, hash=name
        )
        for sample in samples:
            for repeat in range(REPEATS + 1):
                if repeat or sample is samples[0]:
                    cell_of(made, pipeline, sample, repeat)
    return made


def cell_of(experiment: Experiment, pipeline: ExperimentPipeline, sample: DatasetSample, repeat: int) -> Cell:
    key = f"{pipeline.label}-{sample.sample_id}-{repeat}"
    project = experiment.project
    session = Session.objects.create(project=project, id=f"session-{key}", origin="experiment")
    cell = Cell.objects.create(
        project=project, id=key, experiment=experiment, pipeline=pipeline, sample=sample, repeat=repeat,
        order=Cell.objects.count(), status=Cell.Status.DONE, session=session.pk, attempt=1,
    )  # fmt: skip
    turn = Turn.objects.create(
        project=project, id=f"turn-{key}", session=session, index=0, cell=key, origin="experiment", live=False,
        status="completed", outcome="answered", transcript=sample.content["utterances"][0]["text"], reply_text="Hello.",
    )  # fmt: skip
    for place, (kind, took) in enumerate((("stt", 0.25), ("tts", 0.5))):
        Task.objects.create(
            project=project, turn=turn, task_id=kind, place=place, kind=kind, component="x", status="completed",
            model_s=took, ttfb_s=took, started_s=place * 0.25, ended_s=place * 0.25 + took,
        )  # fmt: skip
    return cell


def own(folder: Path, name: str, body: str, takes: str = "cell") -> str:
    file = folder / f"{name}.py"
    file.write_text(OWN.format(name=name, takes=takes, body=body))
    return str(file)


def outcomes(metric: str) -> Counter[str]:
    return Counter(Score.objects.filter(metric__name=metric).values_list("outcome", flat=True))


def test_each_run_has_its_score_with_the_program_that_gave_it_and_warm_up_has_none(experiment: Experiment) -> None:
    Turn.objects.filter(pk="turn-slow-s0-1").update(transcript="good evening everybody")
    progress = scoring.score(experiment, ["wer", "stt.model_s", "turn_s", "self_consistency"])
    values = dict(Score.objects.filter(metric__name="wer").values_list("target_id", "value"))
    assert values.keys() == {cell.pk for cell in Cell.objects.exclude(repeat=0)}
    assert values["slow-s0-1"] == 1.0  # one of two words, and one more
    assert sum(values.values()) == 1.0
    assert {score.value for score in Score.objects.filter(metric__name="stt.model_s")} == {0.25}
    assert {score.value for score in Score.objects.filter(metric__name="turn_s")} == {0.75}
    repeats = Score.objects.filter(metric__name="self_consistency", target=Target.REPEATS)
    assert repeats.count() == len(PIPELINES) * len(TEXTS)
    metric, rater = Metric.objects.get(name="wer"), Rater.objects.get(name="wer")
    assert (rater.kind, rater.version, metric.takes, metric.better) == ("program", metric.version, "cell", "lower")
    assert (metric.parameters["kind"], metric.parameters["pins"]["normaliser"]) == ("accuracy", "auto")
    assert [(each.metric, each.planned, each.scored) for each in progress.metrics][:2] == [
        ("wer", 8, 8),
        ("stt.model_s", 8, 8),
    ]


def test_what_is_scored_is_left_alone_until_it_is_run_again(experiment: Experiment, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    file = own(tmp_path, "counted", f"open({str(calls)!r}, 'a').write(run.cell + '\\n'); return 1")

    def called() -> list[str]:
        said = calls.read_text().split() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return said

    scoring.score(experiment, [file])
    assert len(called()) == 8
    assert scoring.score(experiment, [file]).metrics[0].scored == 8
    assert called() == []
    Session.objects.create(project=experiment.project, id="anew", origin="experiment")
    Cell.objects.filter(pk="fast-s0-1").update(session="anew", attempt=2)
    scoring.score(experiment, [file])
    assert called() == ["fast-s0-1"]
    scoring.score(experiment, [file], again=True)
    assert len(called()) == 8
    assert Score.objects.count() == 9  # the same again adds nothing; the run that was done again has its own


@pytest.mark.long
@pytest.mark.usefixtures("process")
def test_a_metric_that_hangs_raises_or_gives_nan_hurts_no_other(experiment: Experiment, tmp_path: Path) -> None:
    files = [
        own(tmp_path, "hangs", "time.sleep(3600)"),
        own(tmp_path, "raises", "return 1 / 0"),
        own(tmp_path, "nan", "return float('nan')"),
        own(tmp_path, "good", "return 1"),
        "no-such-metric",
    ]
    progress = scoring.score(experiment, files, call_s=2.0)
    assert outcomes("hangs") == {"failed": scoring.SLOW, "skipped": 8 - scoring.SLOW}
    assert outcomes("raises") == outcomes("nan") == {"failed": 8}
    assert outcomes("good") == {"scored": 8}
    reasons = {
        name: Score.objects.filter(metric__name=name, outcome="failed")[0].reason for name in ("hangs", "raises", "nan")
    }
    assert reasons["hangs"] == "took more than 2 s; it was ended"
    assert reasons["raises"] == "raised ZeroDivisionError: division by zero"
    assert "no finite number" in reasons["nan"]
    assert "unknown metric 'no-such-metric'" in progress.metrics[-1].problem


def test_a_run_that_failed_is_an_outcome_of_each_metric_and_what_did_not_run_has_none(experiment: Experiment) -> None:
    Cell.objects.filter(pk="fast-s0-1").update(status=Cell.Status.FAILED, reason="the agent was gone")
    Cell.objects.filter(pk="fast-s1-1").update(status=Cell.Status.CANCELLED)
    scoring.score(experiment, ["wer", "turn_s", "self_consistency"])
    assert outcomes("wer") == {"scored": 7}  # what was not heard is not left out
    assert outcomes("turn_s") == {"scored": 6, "failed": 1}
    assert Score.objects.get(metric__name="turn_s", outcome="failed").reason == "its run failed: the agent was gone"
    assert outcomes("self_consistency") == {"scored": 2, "failed": 1}  # of one sample a repeat never came


def test_nobody_answering_is_an_outcome(experiment: Experiment) -> None:
    Turn.objects.filter(pk="turn-fast-s0-1").update(outcome="unanswered", reply_text="")
    scoring.score(experiment, ["turn_s", "unanswered_rate"])
    silent = Score.objects.get(metric__name="turn_s", target_id="fast-s0-1")
    assert (silent.outcome, silent.reason) == (Outcome.FAILED, "it was never answered")
    assert Score.objects.get(metric__name="unanswered_rate", target_id="fast-s0-1").value == 1
    compared = [each for each in measurements.of(experiment).measured if each.metric == "turn_s"]
    came = {(each.pipeline, each.sample, each.repeat): each.outcome for each in compared}
    assert came.pop(("fast", "s0", 1)) == "failed"  # which a comparison takes as endless, and leaves not out
    assert set(came.values()) == {"scored"}


def test_a_metric_of_turns_scores_turns(experiment: Experiment, tmp_path: Path) -> None:
    scoring.score(experiment, [own(tmp_path, "of-turns", "return len(run.transcript)", takes="turn")])
    said = Score.objects.get(target=Target.TURN, target_id="turn-fast-s0-1")
    assert said.value == len(TEXTS[0])


def test_a_version_that_meant_something_else_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    scoring.score(experiment, [own(tmp_path, "mine", "return 1")])
    progress = scoring.score(experiment, [own(tmp_path, "mine", "return 1", takes="turn")])
    assert "took a cell before" in progress.metrics[0].problem


def test_at_real_time_pace_what_the_caller_heard_counts(experiment: Experiment) -> None:
    Experiment.objects.update(pace="realtime")
    experiment.refresh_from_db()
    Turn.objects.update(live=True, voice_to_voice_s=9.0)
    called = {
        "index": 0,
        "turn_id": "turn-fast-s0-1",
        "turn_ids": ["turn-fast-s0-1"],
        "voice_to_voice_s": -0.25,
        "cut": True,
        "heard_s": 1.25,
    }
    Cell.objects.filter(pk="fast-s0-1").update(played={"turns": [called]})
    scoring.score(experiment, ["voice_to_voice_s", "early_rate", "cut_rate"])
    values = dict(Score.objects.filter(target_id="fast-s0-1").values_list("metric__name", "value"))
    assert values == {"voice_to_voice_s": -0.25, "early_rate": 1, "cut_rate": 1}
    cell = Cell.objects.select_related("sample", "pipeline").get(pk="fast-s0-1")
    (turn,) = runs_of(experiment, [cell])[0][cell.pk].turns
    assert turn.heard_s == 1.25


def spoken(project: Project, key: str, seconds: float) -> None:
    """A reply of which all bytes are here."""
    sound = Audio.silence(seconds, 16_000)
    path = sound.save(Path(storage().staging.root).parent / "made.wav")
    row = Recording.objects.create(project=project, id=key, kind="reply", status="complete", rate=16_000)
    Recording.objects.filter(pk=key).update(key=row.place())
    storage().store.put(row.place(), path)


def test_sound_is_read_where_it_lies_and_awaited_where_it_is_on_its_way(experiment: Experiment, tmp_path: Path) -> None:
    Path(storage().staging.root).mkdir(parents=True)
    spoken(experiment.project, "reply1", 1.5)
    Turn.objects.filter(pk="turn-fast-s0-1").update(reply_audio="reply1")
    Turn.objects.filter(pk="turn-fast-s0-2").update(reply_audio="reply2")  # nothing of it is here yet
    spoken(experiment.project, "reply3", 1.0)
    Turn.objects.filter(pk="turn-fast-s1-1").update(reply_audio="reply3")
    storage().store.put(Recording.objects.get(pk="reply3").key, _junk(tmp_path))
    file = own(tmp_path, "lasts", "reply = run.turns[0].reply(); return 0 if reply is None else reply.duration")
    progress = scoring.score(experiment, [file], await_s=0.0)
    assert Score.objects.get(target_id="fast-s0-1").value == 1.5
    assert progress.metrics[0].awaited == 1
    assert not Score.objects.filter(target_id="fast-s0-2").exists()
    broken = Score.objects.get(target_id="fast-s1-1")
    assert broken.outcome == "failed"
    assert str(tmp_path) not in broken.reason  # nobody need know where we keep what
    assert "recording reply3" in broken.reason
    spoken(experiment.project, "reply2", 0.5)
    scoring.score(experiment, [file], await_s=0.0)
    assert Score.objects.get(target_id="fast-s0-2").value == 0.5


def _junk(folder: Path) -> Path:
    (folder / "junk").write_bytes(b"no sound at all")
    return folder / "junk"


def test_who_is_erased_takes_the_scores_of_their_cells_along(experiment: Experiment) -> None:
    DatasetUtterance.objects.filter(sample__sample_id="s1").update(participant="p2")
    scoring.score(experiment, ["wer", "turn_s", "self_consistency"])
    erase(experiment.project_id, Subject.PARTICIPANT, "p2")
    assert not any(
        "s1" in each for each in Score.objects.filter(target=Target.CELL).values_list("target_id", flat=True)
    )
    assert outcomes("wer") == {"scored": 4}
    assert outcomes("self_consistency") == {"scored": 2}


def test_without_names_it_is_scored_by_what_fits(experiment: Experiment) -> None:
    fast = scoring_choice.chosen(experiment)
    assert {"turn_s", "wer", "cer", "unanswered_rate", "rtf", "self_consistency", "stt.model_s", "tts.ttfb_s"} == {
        *fast
    } - {"stt.ttfb_s", "tts.model_s"}
    experiment.metrics = ["cer"]
    assert scoring_choice.chosen(experiment) == ["cer"]
    assert scoring_choice.chosen(experiment, ["wer", "wer"]) == ["wer"]


def test_a_batch_is_read_by_few_queries(experiment: Experiment, django_assert_max_num_queries: Any) -> None:
    cells = list(Cell.objects.select_related("sample", "pipeline"))
    with django_assert_max_num_queries(8):
        runs, _ = runs_of(experiment, cells)
    assert len(runs) == 10


# ---- over HTTP -----------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is begun is over then: the test's rows are in its own transaction, where no other thread sees them."""

    class AtOnce(threading.Thread):
        def start(self) -> None:
            self.run()

    monkeypatch.setattr(scoring.threading, "Thread", AtOnce)
    monkeypatch.setattr(scoring.connections, "close_all", lambda: None)


@pytest.mark.usefixtures("at_once")
def test_scores_are_asked_for_followed_and_read_page_by_page(experiment: Experiment, admin: Api) -> None:
    assert admin("GET", "/experiments/e/scoring") == {"experiment": "e", "running": False, "metrics": []}
    admin("POST", "/experiments/e/scores", {"metrics": ["wer", "self_consistency"]}, expect=202)
    done = admin("GET", "/experiments/e/scoring")
    assert [(each["metric"], each["scored"]) for each in done["metrics"]] == [("wer", 8), ("self_consistency", 4)]
    first = admin("GET", "/experiments/e/scores?limit=7")
    rest = admin("GET", f"/experiments/e/scores?cursor={first['next']}")
    found = [*first["items"], *rest["items"]]
    assert len(found) == 12
    one = next(each for each in found if each["target_id"] == "slow-s1-2")
    assert (one["sample"], one["pipeline"], one["repeat"], one["value"]) == ("s1", "slow", 2, 0)
    several = next(each for each in found if each["target"] == "repeats")
    assert (several["sample"][0], several["pipeline"] in PIPELINES, several["repeat"]) == ("s", True, None)
    some = admin("GET", "/experiments/e/scores?metric=self_consistency&pipeline=slow&outcome=scored")["items"]
    assert {each["pipeline"] for each in some} == {"slow"}
    assert len(some) == 2


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ({"metrics": ["wr"]}, 400, "unknown metric 'wr'; did you mean 'wer'?"),
        ({"metrics": ["os:system"]}, 422, "metrics"),
        ({"metrics": ["cost"], "parameters": {"cost": {"prices": {"prices": {"llm:x": {"to": 1}}}}}}, 400, "unit 'to'"),
        ({"metrics": ["wer"], "parameters": {"wer": {"normaliser": "loud"}}}, 400, "normaliser"),
        ({"metrics": ["wer"], "parameters": {"cer": {}}}, 400, "cer is not among the metrics"),
        ({"metrics": ["wer"], "parameters": {"wer": {"normaliser": "a\x00"}}}, 422, "NUL"),
        ({"metric": ["wer"]}, 422, "unknown name"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_refused_in_a_line(
    experiment: Experiment, admin: Api, body: Any, status: int, line: str
) -> None:
    assert line in admin.error("POST", "/experiments/e/scores", body, status=status)
    assert not Score.objects.exists()


def test_only_researchers_score_and_viewers_read(experiment: Experiment) -> None:
    viewer = api_for(experiment.project, Scope.VIEWER)
    viewer("POST", "/experiments/e/scores", {}, expect=403)
    assert viewer("GET", "/experiments/e/scores")["items"] == []
    assert "no experiment 'f'" in viewer.error("GET", "/experiments/f/scores", status=404)
