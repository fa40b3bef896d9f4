"""Experiments as they are begun, gone on with, and given another pipeline.

An experiment is known by its name: who asks for the same again gets the one that there is, and another content under
its name is refused, so that nothing is ever mixed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone

from ...datasets import Sample
from ...errors import nearest
from ...metrics import registry
from ...pipeline.again import check_has
from ...records import PlayerChoice
from ...version import __version__
from ..datasets import reading
from ..datasets.models import DatasetSample, DatasetVersion
from ..ground.caller import Caller
from ..ground.errors import Refusal, conflict
from ..pipelines.models import version_of
from . import planning, playing, tested
from .finding import find, named
from .models import IMPORTED, Cell, Experiment, ExperimentPipeline, Pace
from .tested import UnderTest

MAX_NAME = 80
NAMED = 3
"""How many samples a refusal names."""
REFERENCES = {"stt": "text", "llm": "answer"}
"""By kind, the field of an utterance that has what a stage of it should give."""
Found = Sequence[tuple[DatasetSample, Sample]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for."""

    dataset: str
    pipelines: Sequence[str]
    repeats: int = 1
    seed: int = 0
    pace: str = Pace.FAST
    name: str = ""
    baseline: str = ""
    margins: dict[str, float] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    player: PlayerChoice | None = None


def begin(caller: Caller, wanted: Wanted) -> Experiment:
    """The experiment of that name and content, made if it is not there; one that was cancelled goes on. Raises Refusal
    before anything is made: 404 and 422 for what can't be, 409 for a name that has another content."""
    version = reading.version_named(caller, wanted.dataset)
    _check_metrics(wanted)
    _check_given(wanted)
    playing.check(caller.project_id, wanted.player, wanted.pace)
    pipelines = tested.named(caller, wanted.pipelines)
    name = wanted.name or default_name(version.dataset.name, [each.name for each in pipelines])
    experiment: Experiment | None = named(caller.project_id, name).first()
    if experiment is None:
        samples = _checked(version, wanted, pipelines, 0)
        experiment = _make(caller, name, wanted, version, pipelines, len(samples))
    _compare(experiment, wanted, version, pipelines)
    return _extend(experiment, pipelines)


def add(caller: Caller, name: str, names: Sequence[str]) -> Experiment:
    """Gives it more pipelines; only their cells are new. Raises Refusal as `begin`."""
    experiment = find(caller, name)
    pipelines = tested.named(caller, names)
    _compare_pipelines(experiment, pipelines)
    return _extend(experiment, pipelines)


def default_name(dataset: str, pipelines: Sequence[str]) -> str:
    """For who gives it none: the same for the same dataset and pipelines."""
    whole = re.sub(r"[/\x00-\x1f\x7f]", "-", "-".join([dataset, *pipelines]))
    if len(whole) <= MAX_NAME:
        return whole
    return f"{whole[: MAX_NAME - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


# ---- what can't be run ----


def _check_metrics(wanted: Wanted) -> None:
    """Before all is run for a metric that there is not."""
    asked = (*wanted.metrics, *wanted.margins)
    known = registry.names() if asked else set()
    for name in asked:
        if name not in known:
            raise Refusal(422, f"unknown metric {name!r}; {nearest(name, known)}")


def _check_given(wanted: Wanted) -> None:
    for kind in wanted.given:
        if kind not in REFERENCES:
            raise Refusal(422, f"{kind} has no reference in a dataset; {nearest(kind, REFERENCES)}")


def _checked(version: DatasetVersion, wanted: Wanted, pipelines: Sequence[UnderTest], there: int) -> Found:
    """The samples, which can be run so; `there`: how many pipelines it has already."""
    found = reading.samples_of(version)
    if not found:
        raise Refusal(422, f"the dataset {version} has no sample (any more); choose another")
    cells = planning.count(len(found), there + len(pipelines), wanted.repeats, 1)
    if cells > planning.MAX_CELLS:
        raise Refusal(
            422, f"that would be {cells:,} cells, where {planning.MAX_CELLS:,} are the most; take fewer samples, "
            "pipelines or repeats"
        )  # fmt: skip
    if wanted.pace == Pace.FAST:
        _refuse(
            [sample.id for _, sample in found if sample.needs_realtime],
            "needs real-time pace, for something in it is said into a reply; ask for that (--pace realtime), or for a "
            "dataset without such samples",
        )
    _refuse(*playing.unplayable(wanted.player, list(found)))
    for kind in wanted.given:
        if wanted.pace == Pace.REALTIME:
            raise Refusal(422, "a reference takes a stage's place at fast pace only; leave it out, or run at fast pace")
        for each in pipelines:
            check_has(each.pipeline, kind)
        what = REFERENCES[kind]
        _refuse(
            [sample.id for _, sample in found if any(getattr(said, what) is None for said in sample.utterances)],
            f"has no reference for {kind} (its `{what}`) in each utterance; add it, or leave such samples out",
        )
    return found


def _refuse(samples: Sequence[str], why: str) -> None:
    if not samples:
        return
    more = f" and {len(samples) - NAMED} more" if len(samples) > NAMED else ""
    raise Refusal(422, f"sample {', '.join(samples[:NAMED])}{more}: {why}")


# ---- what is there already ----


def _compare(experiment: Experiment, wanted: Wanted, version: DatasetVersion, pipelines: Sequence[UnderTest]) -> None:
    """Raises Refusal, 409, where it has another content."""
    pairs = {
        "dataset": (str(experiment.dataset), str(version)),
        "pace": (experiment.pace, wanted.pace),
        "repeats": (experiment.repeats, wanted.repeats),
        "seed": (experiment.seed, wanted.seed),
        "references in the place of": (_listed(experiment.given), _listed(wanted.given)),
        "margins": (_listed(experiment.margins), _listed(wanted.margins)),
        "the user played by": (playing.words(experiment.player), playing.words(playing.told(wanted.player))),
    }
    if wanted.baseline.partition("@")[0] not in ("", experiment.baseline.partition("@")[0]):
        pairs["baseline"] = (experiment.baseline, wanted.baseline)
    if wanted.metrics:
        pairs["metrics"] = (", ".join(experiment.metrics) or "none", ", ".join(wanted.metrics))
    differ = [f"{what} {been}, and this asks for {asked}" for what, (been, asked) in pairs.items() if been != asked]
    if differ:
        conflict(f"experiment {experiment.name!r} has {'; '.join(differ)}; give this one a name of its own (--name)")
    _compare_pipelines(experiment, pipelines)


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items())) or "none"


def _compare_pipelines(experiment: Experiment, pipelines: Sequence[UnderTest]) -> None:
    there = dict(experiment.pipelines.values_list("label", "hash"))
    for each in pipelines:
        been = there.get(each.name)
        if been and been != each.hash and not each.pinned and each.hash not in there.values():
            conflict(
                f"experiment {experiment.name!r} has the pipeline {each.name} of hash {been}, and it was changed since "
                f"(now {each.hash}); give this one another name, or ask for {each.name}@{been}"
            )


# ---- what is made ----


def _make(
    caller: Caller, name: str, wanted: Wanted, version: DatasetVersion, pipelines: Sequence[UnderTest], samples: int
) -> Experiment:
    called = tested.labels(pipelines, {})
    own = list(called.values())
    # As it was asked for: by its name, or by name and hash.
    asked = {called[each.hash]: (each.name, f"{each.name}@{each.hash}", called[each.hash]) for each in pipelines}
    baseline = next((label for label, names in asked.items() if wanted.baseline in names), "")
    if wanted.baseline and not baseline:
        hint = nearest(wanted.baseline, own)
        raise Refusal(422, f"the baseline {wanted.baseline!r} is none of the pipelines; {hint}")
    settings: dict[str, Any] = {
        "seed": wanted.seed, "pace": wanted.pace, "repeats": wanted.repeats, "baseline": baseline or own[0],
        "margins": wanted.margins, "given": wanted.given, "metrics": wanted.metrics,
        "player": playing.told(wanted.player),
    }  # fmt: skip
    dataset = {"name": version.dataset.name, "version": version.number, "hash": version.hash, "samples": samples}
    now = timezone.now()
    manifest = {
        "experiment": name, "openomni": __version__, "started_at": now.isoformat(), "dataset": dataset,
        "pipelines": [], "warm_up": 1, **settings,
    }  # fmt: skip
    experiment, _ = Experiment.objects.get_or_create(
        project_id=caller.project_id,
        name=name,
        defaults={
            **settings, "dataset": version, "warm_up": 1, "manifest": manifest, "started_at": now,
            "created_by": caller.user_name or caller.token_id,
        },
    )  # fmt: skip
    return experiment


def _extend(experiment: Experiment, pipelines: Sequence[UnderTest]) -> Experiment:
    """Takes in pipelines that it has not, and plans what of its cells is not there; what was cancelled goes on."""
    if IMPORTED in experiment.manifest:
        conflict(
            f"experiment {experiment.name!r} was run on another server, and its media are there; run it there, too"
        )
    with transaction.atomic():
        experiment = Experiment.objects.select_for_update().select_related("dataset__dataset").get(pk=experiment.pk)
        _take_in(experiment, pipelines)
    samples = list(DatasetSample.objects.filter(version=experiment.dataset).values_list("pk", flat=True))
    planned = experiment.pipelines.annotate(planned=Count("cells"))
    each = planning.count(len(samples), 1, experiment.repeats, experiment.warm_up)
    if lacking := [row for row in planned if row.planned < each]:
        last = experiment.cells.aggregate(last=Max("order"))["last"]
        planning.plan(experiment, lacking, samples, 0 if last is None else last + 1)
    go_on(experiment)
    return experiment


def _take_in(experiment: Experiment, pipelines: Sequence[UnderTest]) -> None:
    there = dict(experiment.pipelines.values_list("label", "hash"))
    new = [each for each in pipelines if each.hash not in there.values()]
    if not new:
        return
    settings = {"given": experiment.given, "player": playing.choice_of(experiment)}
    wanted = Wanted("", (), experiment.repeats, experiment.seed, experiment.pace, **settings)
    _checked(experiment.dataset, wanted, new, len(there))
    called = tested.labels(new, there)
    for place, each in enumerate(new, len(there)):
        # Agents ask for it by its hash.
        version_of(experiment.project_id, each.name, each.hash, each.pipeline.normalised())
        own = {"experiment": experiment, "project_id": experiment.project_id, "place": place}
        ExperimentPipeline.objects.create(**own, label=called[each.hash], name=each.name, hash=each.hash)
        told = {"pipeline": called[each.hash], "name": each.name, "pipeline_hash": each.hash}
        told["added_at"] = timezone.now().isoformat()
        experiment.manifest["pipelines"].append({**told, "spec": each.pipeline.normalised()})
    experiment.save(update_fields=["manifest"])


def go_on(experiment: Experiment) -> None:
    """Whatever is still to be run of it is run."""
    with transaction.atomic():
        row = Experiment.objects.select_for_update().get(pk=experiment.pk)
        Cell.objects.filter(experiment=row, status=Cell.Status.CANCELLED).update(
            status=Cell.Status.PLANNED, reason="", session="", ended_at=None
        )
        if row.status == Experiment.Status.CANCELLED or row.cells.filter(status=Cell.Status.PLANNED).exists():
            row.status, row.ended_at = Experiment.Status.RUNNING, None
            row.save(update_fields=["status", "ended_at"])
    experiment.refresh_from_db()
