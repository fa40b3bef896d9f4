"""Experiments over HTTP: planned once, the same for the same request, refused where that would mix."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import groupby
from typing import Any

import msgspec
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.experiment_rows import agent, dataset, into_reply, pipelines, sample, simulated
from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.experiments import calling, cancelling, feeding, planning, progress
from openomni.api.experiments.models import Cell, Experiment
from openomni.api.experiments.runnable import Runnable
from openomni.api.fleet.models import Agent
from openomni.api.pipelines import storing
from openomni.api.queue.models import QueuedWork
from openomni.api.records.recorder import write_batch
from openomni.bus.envelope import CallWork, Work
from openomni.datasets import AfterReply, IntoReply
from openomni.pipeline import spec
from openomni.records import CalledRecord, CellRecord


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine anything is slow
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers())
def test_every_cell_is_planned_once_and_in_blocks_of_all_pipelines(
    samples: int, pipelines: int, repeats: int, warm_up: int, seed: int
) -> None:
    order = list(planning.places(samples, pipelines, repeats, warm_up, seed))
    assert len(order) == planning.count(samples, pipelines, repeats, warm_up)
    assert Counter(each for each in order if each.repeat) == Counter(
        planning.CellPlace(sample, pipeline, repeat)
        for sample in range(samples)
        for pipeline in range(pipelines)
        for repeat in range(1, repeats + 1)
    )
    blocks = [list(cells) for _, cells in groupby(order, lambda each: (each.sample, each.repeat))]
    assert all(sorted(each.pipeline for each in block) == list(range(pipelines)) for block in blocks)
    warming = [block[0].repeat == planning.WARM_UP for block in blocks]
    assert warming == sorted(warming, reverse=True)
    assert sum(warming) == min(warm_up, samples)
    assert order == list(planning.places(samples, pipelines, repeats, warm_up, seed))


def test_the_order_is_drawn_by_the_seed() -> None:
    orders = {tuple(planning.places(10, 3, 2, 1, seed)) for seed in range(5)}
    assert len(orders) == 5
    firsts = {block.pipeline for order in orders for block in order}
    assert firsts == {0, 1, 2}


@pytest.fixture
def researcher(project: Project) -> Api:
    return api_for(project, Scope.RESEARCHER)


@pytest.fixture
def ready(project: Project) -> list[str]:
    """Five samples, one of them a dialogue, and pipelines a, b and c; the hashes of these."""
    dataset(project, *(sample(f"s{number}") for number in range(4)), sample("talk", 3))
    agent(project)
    return pipelines(project, "a", "b", "c")


def request(**fields: Any) -> dict[str, Any]:
    return {"dataset": "questions", "pipelines": ["a", "b"], "repeats": 2, "name": "e1"} | fields


def run(api: Api, **fields: Any) -> Any:
    return api("POST", "/experiments", request(**fields), 202)


def refused(api: Api, status: int, **fields: Any) -> str:
    return api.error("POST", "/experiments", request(**fields), status=status)


class TestPlanned:
    def test_samples_times_pipelines_times_repeats(self, researcher: Api, ready: list[str]) -> None:
        made = run(researcher, seed=7, margins={"wer": 0.01})
        assert (made["cells"]["planned"], made["warm_up"]["planned"], made["status"]) == (20, 2, "running")
        assert [(each["pipeline"], each["pipeline_hash"]) for each in made["pipelines"]] == list(
            zip("ab", ready[:2], strict=True)
        )
        assert (made["baseline"], made["pace"], made["seed"]) == ("a", "fast", 7)
        manifest = made["manifest"]
        assert manifest["dataset"] == {"name": "questions", "version": 1, "hash": "questions-1", "samples": 5}
        assert manifest["pipelines"][1]["spec"]["stages"][1]["text"] == "I am b."
        assert (manifest["margins"], manifest["player"]["kind"]) == ({"wer": 0.01}, "recording")
        cells = researcher("GET", "/experiments/e1/cells?limit=500")["items"]
        assert [each["order"] for each in cells] == list(range(22))
        assert {each["repeat"] for each in cells[:2]} == {0}

    def test_the_same_request_twice_is_one_experiment(self, researcher: Api, ready: list[str]) -> None:
        first = run(researcher)
        again = run(researcher)
        assert {**again, "held_up": first["held_up"]} == first
        assert (Experiment.objects.count(), Cell.objects.count()) == (1, 22)

    def test_who_names_none_has_it_named_after_what_it_is_of(self, researcher: Api, ready: list[str]) -> None:
        body = request()
        del body["name"]
        assert researcher("POST", "/experiments", body, 202)["experiment"] == "questions-a-b"

    def test_one_more_pipeline_plans_only_its_own_cells(self, researcher: Api, ready: list[str]) -> None:
        run(researcher)
        before = list(Cell.objects.values())
        Cell.objects.update(status="done")
        Experiment.objects.update(status="done")
        made = researcher("POST", "/experiments/e1/pipelines", {"pipelines": ["c"]}, 202)
        assert (made["cells"]["planned"], made["cells"]["done"], made["status"]) == (30, 20, "running")
        new = Cell.objects.exclude(pk__in=[each["id"] for each in before])
        assert {(each.pipeline.label, each.status) for each in new} == {("c", "planned")}
        assert min(each.order for each in new) == 22
        assert run(researcher, pipelines=["a", "b", "c"])["cells"] == made["cells"]

    def test_two_versions_of_a_pipeline_are_told_apart_by_their_hashes(
        self, researcher: Api, ready: list[str], project: Project
    ) -> None:
        storing.store(project.pk, spec.parse(simulated("a", "I am new."), "a"))
        made = run(researcher, pipelines=["a", f"a@{ready[0][:8]}"], baseline=f"a@{ready[0][:8]}")
        assert [each["pipeline"] for each in made["pipelines"]][1] == made["baseline"] == f"a@{ready[0][:8]}"
        assert len({each["pipeline"] for each in made["pipelines"]}) == 2

    def test_a_plan_that_broke_off_is_completed(self, researcher: Api, ready: list[str]) -> None:
        run(researcher)
        kept = set(Cell.objects.values_list("pk", flat=True))
        Cell.objects.filter(order__gte=9).delete()
        run(researcher)
        assert set(Cell.objects.values_list("pk", flat=True)) == kept


class TestRefused:
    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({"repeats": 3}, "has repeats 2, and this asks for 3"),
            ({"seed": 1}, "has seed 0, and this asks for 1"),
            ({"pace": "realtime"}, "has pace fast, and this asks for realtime"),
            ({"margins": {"wer": 0.1}}, "has margins none, and this asks for wer 0.1"),
            ({"with": {"stt": "reference"}}, "has references in the place of none, and this asks for stt reference"),
            ({"baseline": "b"}, "has baseline a, and this asks for b"),
        ],
    )
    def test_another_content_under_a_name_that_is_taken(
        self, researcher: Api, ready: list[str], changed: dict[str, Any], line: str
    ) -> None:
        run(researcher)
        mend = "give this one a name of its own (--name)"
        assert refused(researcher, 409, **changed) == f"experiment 'e1' {line}; {mend}"
        assert Cell.objects.count() == 22

    def test_a_dataset_with_a_new_version(self, researcher: Api, ready: list[str], project: Project) -> None:
        run(researcher)
        dataset(project, sample("other"), number=2)
        assert "has dataset questions 1, and this asks for questions 2" in refused(researcher, 409)
        run(researcher, dataset="questions@1")

    def test_a_pipeline_that_was_changed_since(self, researcher: Api, ready: list[str], project: Project) -> None:
        run(researcher)
        storing.store(project.pk, spec.parse(simulated("a", "I am new."), "a"))
        assert f"has the pipeline a of hash {ready[0]}, and it was changed since" in refused(researcher, 409)
        assert researcher.error("POST", "/experiments/e1/pipelines", {"pipelines": ["a"]}, status=409)
        run(researcher, pipelines=[f"a@{ready[0]}", "b"])

    def test_samples_that_need_real_time(self, researcher: Api, ready: list[str], project: Project) -> None:
        dataset(project, sample("plain"), into_reply("cut"), name="barging")
        assert refused(researcher, 422, dataset="barging").startswith("sample cut: needs real-time pace")
        assert not Experiment.objects.exists()

    def test_samples_without_the_reference(self, researcher: Api, ready: list[str], project: Project) -> None:
        dataset(project, sample("known"), *(sample(f"u{number}", text=None) for number in range(5)), name="unknown")
        line = refused(researcher, 422, dataset="unknown", **{"with": {"stt": "reference"}})
        assert line.startswith("sample u0, u1, u2 and 2 more: has no reference for stt")

    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({"dataset": "qestions"}, "did you mean 'questions'"),
            ({"dataset": "questions@7"}, "there is no version of dataset 'questions' called '7'"),
            ({"pipelines": ["aa"]}, "there is no pipeline 'aa'"),
            ({"pipelines": ["a@01234567"]}, "there is no version of 'a' called '01234567'"),
            ({"pipelines": []}, "pipelines: it is empty; give one at least"),
            ({"baseline": "c"}, "the baseline 'c' is none of the pipelines"),
            ({"with": {"tts": "reference"}}, "tts has no reference in a dataset"),
            ({"with": {"stt": "this"}}, "with.stt: it takes 'reference'"),
            ({"repeats": 0}, "repeats: it takes 1 or more"),
            ({"repeats": 1.5}, "repeats: it takes a whole number"),
            ({"name": "a/b"}, "name: 'a/b' holds '/' or what can't be seen"),
            ({"name": "n" * 81}, "name: it is too long; 80"),
            ({"margins": {"wer": -1}}, "margins.wer: it takes 0 or more"),
            ({"metric": ["wer"]}, "metric: unknown name"),
        ],
    )
    def test_what_can_t_be(self, researcher: Api, ready: list[str], changed: dict[str, Any], line: str) -> None:
        answer = researcher.raw("POST", "/experiments", request(**changed))
        assert answer.status_code in (404, 422)
        assert line in answer.json()["error"]
        assert not Experiment.objects.exists()

    def test_more_cells_than_there_may_be(
        self, researcher: Api, ready: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(planning, "MAX_CELLS", 21)
        assert refused(researcher, 422).startswith("that would be 22 cells, where 21 are the most")

    def test_a_name_that_is_none(self, researcher: Api, ready: list[str]) -> None:
        run(researcher)
        assert "'e1'" in researcher.error("GET", "/experiments/e2", status=404)

    def test_who_may_only_look(self, project: Project, ready: list[str]) -> None:
        refused(api_for(project, Scope.VIEWER), 403)


class TestHeldUp:
    def test_a_pipeline_that_nobody_can_run_waits_and_the_others_are_fed(
        self, researcher: Api, ready: list[str], project: Project
    ) -> None:
        other = {**simulated("far"), "stages": [{"end_to_end": "simulated"}]}
        storing.store(project.pk, spec.parse(other, "far"))
        run(researcher, pipelines=["a", "far"])
        feeding.feed(Experiment.objects.get().pk)
        counts = {each["pipeline"]: each["cells"] for each in researcher("GET", "/experiments/e1")["pipelines"]}
        assert (counts["a"]["running"], counts["far"]["running"]) == (10, 0)
        ((lines),) = Runnable.now(Experiment.objects.get()).held_up.values()
        assert lines == [
            "no live agent offers end_to_end:simulated; start one: openomni agent --offer end_to_end:simulated"
        ]

    def test_only_so_many_are_queued_at_a_time(
        self, researcher: Api, ready: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeding, "LEAST", 8)
        run(researcher)
        key = Experiment.objects.get().pk
        assert [feeding.feed(key), feeding.feed(key)] == [8, 0]
        queued = Cell.objects.filter(status="queued")
        assert sorted(queued.values_list("order", flat=True)) == list(range(8))
        queued.filter(order__lt=4).update(status="done")
        assert feeding.feed(key) == 4


class TestInRealTime:
    @pytest.fixture
    def key(self, researcher: Api, ready: list[str], project: Project) -> int:
        Agent.objects.update(roles=["host", "caller"])
        dataset(project, sample("plain"), into_reply("cut"), name="barging")
        run(researcher, dataset="barging", pipelines=["a"], repeats=1, pace="realtime", seed=3)
        return Experiment.objects.get().pk

    def played(self, work: Work, status: str, **fields: Any) -> None:
        record = CellRecord(
            project="home", version=work.attempt, cell=work.subject_id, attempt=work.attempt, status=status,
            session_id=f"{work.subject_id}-{work.attempt}", caller="box", started_at=1_740_000_000.0,
            ended_at=1_740_000_009.0, **fields,
        )  # fmt: skip
        write_batch([record])

    def queued(self) -> dict[str, Work]:
        return {row.pk: msgspec.convert(row.work, Work) for row in QueuedWork.objects.all()}

    def test_a_cell_is_a_call_with_all_that_is_said_and_when(self, key: int) -> None:
        assert feeding.feed(key) == 3
        cut = Cell.objects.get(sample__sample_id="cut", repeat=1)
        work = self.queued()[cut.pk]
        assert (work.kind, work.lane, work.group, work.attempt) == ("call", "latency", str(key), 1)
        call = CallWork.of(work)
        assert [each.when for each in call.utterances] == [AfterReply(), IntoReply(word=2)]
        assert (call.pipeline, call.session_id, call.settings["seed"]) == ("a", cut.session, 3)

    def test_what_was_disturbed_is_run_again_and_counts_once(self, researcher: Api, key: int) -> None:
        feeding.feed(key)
        cell = Cell.objects.get(sample__sample_id="plain", repeat=1)
        first = self.queued()[cell.pk]
        for _ in range(2):
            self.played(first, "disturbed", reason="a conversation took box")
        cell.refresh_from_db()
        assert (cell.status, cell.disturbed, cell.reason) == ("planned", 1, "a conversation took box")
        for each in self.queued().values():
            self.played(each, "done")
        feeding.feed(key)
        (second,) = self.queued().values()
        assert (second.subject_id, second.attempt) == (cell.pk, 2)
        self.played(first, "done")
        cell.refresh_from_db()
        assert cell.status == "queued", "an earlier attempt's record counts for nothing"
        self.played(second, "done", turns=[CalledRecord(index=0, voice_to_voice_s=0.4, answered=True)])
        cell.refresh_from_db()
        assert (cell.status, cell.session, cell.attempt) == ("done", f"{cell.pk}-2", 2)
        assert cell.played["turns"][0]["voice_to_voice_s"] == 0.4
        assert not QueuedWork.objects.exists()
        assert feeding.is_over(key)

    def test_what_its_agents_left_is_run_when_they_are_back_but_not_for_ever(self, key: int) -> None:
        states = []
        for _ in range(calling.GAVE_UP):
            feeding.feed(key)
            cell = Cell.objects.get(sample__sample_id="plain", repeat=1)
            self.played(self.queued()[cell.pk], "failed", reason="no agent offers tts:piper", unserved=True)
            cell.refresh_from_db()
            states.append((cell.status, cell.reason))
        assert set(states[:-1]) == {("planned", calling.AWAITS_AGENT)}
        assert states[-1] == ("failed", "no agent offers tts:piper")

    def test_a_machine_that_is_never_free_for_so_long_ends_it(self, key: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calling, "MOST_DISTURBED", 3)
        for _ in range(3):
            feeding.feed(key)
            cell = Cell.objects.get(sample__sample_id="plain", repeat=1)
            self.played(self.queued()[cell.pk], "disturbed", reason="somebody talked to box meanwhile")
        cell.refresh_from_db()
        assert cell.status == "failed"
        assert cell.reason == "it was disturbed 3 times, the last time because somebody talked to box meanwhile"

    def test_without_somebody_who_plays_the_person_it_waits(self, key: int) -> None:
        Agent.objects.update(roles=["host"])
        assert feeding.feed(key) == 0
        assert "no live agent plays the person" in str(Runnable.now(Experiment.objects.get()).held_up)


def test_who_goes_on_while_it_is_cancelled_puts_nothing_in_that_the_cancelling_takes_out(
    researcher: Api, ready: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(researcher)
    experiment = Experiment.objects.get()
    fed = []

    def emptied(work: Any) -> None:
        """Another one asks for it again, in the midst of it."""
        run(researcher)
        fed.append(feeding.feed(experiment.pk))

    monkeypatch.setattr(cancelling.bus_line, "run", emptied)
    cancelling.cancel(experiment)
    assert fed == [0]
    assert feeding.feed(experiment.pk) > 0


def test_agents_that_go_while_all_is_queued_are_what_holds_it_up(
    researcher: Api, ready: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.bus_line, "connected", lambda: True)
    run(researcher)
    experiment = Experiment.objects.get()
    while feeding.feed(experiment.pk):
        pass
    Agent.objects.update(last_seen=timezone.now() - timedelta(hours=1))
    assert "no live agent offers" in progress.state(experiment).held_up[0]


def test_who_died_of_cancelling_holds_up_nobody_for_long(researcher: Api, ready: list[str]) -> None:
    run(researcher)
    Experiment.objects.update(emptied_at=timezone.now() - feeding.EMPTIES)
    assert feeding.feed(Experiment.objects.get().pk) > 0
