"""A project with something of everything, and the paths of REST filled in with its ids."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from api.support import agent_with, person
from openomni.api.accounts.models import Project, Scope, Token
from openomni.api.annotation.models import (
    Assignment,
    Campaign,
    CampaignAnnotator,
    CampaignItem,
    CampaignMetric,
)
from openomni.api.datasets.models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from openomni.api.experiments.models import Cell, Experiment, ExperimentPipeline
from openomni.api.people.models import Consent, Participant
from openomni.api.pipelines.models import Pipeline, version_of
from openomni.api.places.models import Device, Site
from openomni.api.queue.models import QueuedWork
from openomni.api.records import writing
from openomni.api.records.models import (
    Attempt,
    Derived,
    Item,
    Recording,
    Segment,
    Session,
    Tag,
    Tagged,
    Task,
    TimePoint,
    Tombstone,
    Turn,
)
from openomni.api.scores import stating
from openomni.api.scores.models import Metric, Rater, Score
from openomni.api.urls import api as rest
from openomni.metrics import rated
from openomni.records import BuildRecord

DOCUMENT: dict[str, Any] = json.loads(json.dumps(rest.get_openapi_schema()))

MARK = "zebra"
"""Stands in every text that is the project's; it must not be in any answer to a stranger."""


@pytest.fixture
def filled(project: Project) -> Project:
    """The project with a row of every model, each text marked."""
    Project.objects.filter(pk=project.pk).update(name=MARK)
    site = Site.objects.create(project=project, slug=f"site-{MARK}", name=MARK)
    Device.objects.create(project=project, slug=f"device-{MARK}", name=MARK, site=site)
    participant = Participant.objects.create(project=project, code=f"code-{MARK}", name=MARK, site=site)
    Consent.objects.create(project=project, participant=participant, purpose="recording", evidence=MARK)
    agent_with(project, f"llm:{MARK}", id=f"agent{MARK}", name=MARK)
    version = version_of(project.pk, f"pipeline-{MARK}", MARK, {"name": MARK, "stages": []})
    Pipeline.objects.update(current=version, description=MARK)
    session = Session.objects.create(
        project=project, id=f"session{MARK}", pipeline=MARK, source=MARK, participant=participant.code
    )
    turn = Turn.objects.create(
        project=project, id=f"turn{MARK}", session=session, index=0, transcript=MARK, pipeline=MARK, status="completed",
        voice_to_voice_s=0.5,
    )  # fmt: skip
    Segment.objects.create(project=project, session=session, turn=turn, speaker=MARK, start=0, end=1)
    task = Task.objects.create(project=project, turn=turn, task_id=f"task{MARK}", kind="llm", component=MARK)
    Attempt.objects.create(project=project, task=task, number=1, agent=MARK, status="started")
    TimePoint.objects.create(project=project, turn=turn, name=MARK, at_s=0.0)
    Recording.objects.create(project=project, id=f"recording{MARK}", session=session)
    Derived.objects.create(
        project=project, recording_id=f"recording{MARK}", kind="peaks", media_type="x/y", store=MARK, key=MARK, size=1,
        sha256=MARK, made_by=MARK,
    )  # fmt: skip
    Item.objects.create(project=project, session=session, item_id=f"item{MARK}", role="user", content=MARK)
    build = BuildRecord(project=project.pk, build=f"build{MARK}", kind="llm", component=MARK)
    writing.write_all([build])
    tag = Tag.objects.create(project=project, name=f"tag-{MARK}", description=MARK)
    for bearer in ({"turn": turn}, {"session": session}):
        Tagged.objects.create(project=project, tag=tag, **bearer)
    Tombstone.objects.create(project=project, kind="turn", key=f"gone{MARK}")
    metric = Metric.objects.create(project=project, name=MARK, version="1")
    rater = Rater.objects.create(project=project, kind="person", name=MARK)
    Score.objects.create(
        project=project, metric=metric, rater=rater, target="turn", target_id=turn.pk, outcome="scored", label=MARK
    )
    QueuedWork.objects.create(project=project, id=f"work{MARK}", session=session, work={"x": MARK}, waits=True)
    dataset = DatasetVersion.objects.create(
        project=project, dataset=Dataset.objects.create(project=project, name=f"dataset-{MARK}"), number=1, hash=MARK,
        samples=1, source=MARK,
    )  # fmt: skip
    sample = DatasetSample.objects.create(
        project=project,
        version=dataset,
        position=0,
        sample_id=MARK,
        hash=MARK,
        content={"id": MARK, "utterances": [{"sound": {"path": f"recording{MARK}"}}]},
    )
    DatasetUtterance.objects.create(
        project=project, sample=sample, index=0, recording=f"recording{MARK}", participant=participant.code
    )
    experiment = Experiment.objects.create(
        project=project, name=f"experiment-{MARK}", dataset=dataset, baseline=MARK, manifest={"x": MARK}
    )
    tested = ExperimentPipeline.objects.create(
        project=project, experiment=experiment, place=0, label=MARK, name=MARK, hash=MARK
    )
    Cell.objects.create(
        project=project, id=f"cell{MARK}", experiment=experiment, pipeline=tested, sample=sample, repeat=1, order=0
    )
    Score.objects.create(
        project=project,
        metric=metric,
        rater=rater,
        target="cell",
        target_id=f"cell{MARK}",
        outcome="scored",
        label=MARK,
    )
    _fill_campaign(project, turn, rater)
    Token.issue(project, [Scope.ADMIN], name=MARK, id=f"{MARK}000")
    person(MARK, "owner", project)
    return project


def _fill_campaign(project: Project, turn: Turn, rater: Rater) -> None:
    asked = rated.parsed({"metric": f"asked-{MARK}", "question": MARK, "scale": "stars"})
    metric = stating.state(project.pk, asked).row
    campaign = Campaign.objects.create(
        project=project, name=f"campaign-{MARK}", of="turn",
        content={"stated": {"description": MARK}, "metrics": [{"metric": metric.name, "version": metric.version}]},
    )  # fmt: skip
    own: dict[str, Any] = {"project": project, "campaign": campaign}
    CampaignMetric.objects.create(**own, metric=metric, place=0)
    item = CampaignItem.objects.create(
        **own, place=0, target="turn", target_id=turn.pk, about={"turn": turn.pk, "session": turn.session_id}
    )
    annotator = CampaignAnnotator.objects.create(**own, rater=rater)
    Assignment.objects.create(
        **own, pk=int(IDS["key"]), item=item, number=1, annotator=annotator, status="leased", draft={"x": MARK}
    )


IDS = {
    "agent_id": f"agent{MARK}", "session_id": f"session{MARK}", "turn_id": f"turn{MARK}", "task_id": f"task{MARK}",
    "recording_id": f"recording{MARK}", "token_id": f"{MARK}000", "code": f"code-{MARK}", "name": f"pipeline-{MARK}",
    "which": "1", "purpose": "recording", "sequence": "1", "build": f"build{MARK}", "hash": MARK, "kind": "peaks",
    "tag": f"tag-{MARK}", "draft": f"draft{MARK}", "key": "4711", "number": "1",
}  # fmt: skip


def endpoints() -> list[tuple[str, str]]:
    """Every (method, path) of the OpenAPI document, so that none is forgotten when one is added."""
    return [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]


def fields_of(method: str, path: str) -> list[str]:
    """Those of its body; none where that is no object of JSON."""
    content = DOCUMENT["paths"][path][method].get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return list(DOCUMENT["components"]["schemas"].get(name, {}).get("properties", {}))


def ids_of(path: str) -> dict[str, str]:
    """The project's ids for the parameters of a path."""
    slug = {"sites": f"site-{MARK}", "devices": f"device-{MARK}", "projects": "home"}.get(path.split("/")[3], "")
    names_by_area = {
        "experiments": f"experiment-{MARK}", "datasets": f"dataset-{MARK}", "metrics": f"asked-{MARK}",
        "campaigns": f"campaign-{MARK}", "annotation": f"campaign-{MARK}",
    }  # fmt: skip
    named = names_by_area.get(path.split("/")[3])
    ids = {**IDS, "slug": slug} | ({"name": named} if named else {})
    names = re.findall(r"{(\w+)}", path)
    assert ids.keys() >= set(names), f"{path}: say in IDS what its parameters are"
    return {name: ids[name] for name in names}


def filled_in(path: str) -> str:
    """The path with the project's ids in its places."""
    return path.format(**ids_of(path)).removeprefix("/api/v1")
