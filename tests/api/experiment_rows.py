"""Datasets for experiments, without a file behind them, and the pipelines that they are run through."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from django.utils import timezone

from api.support import agent_with
from openomni.api.accounts.models import Project
from openomni.api.datasets.models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from openomni.api.pipelines import storing
from openomni.api.records.models import Recording
from openomni.datasets import IntoReply, Sample, Sound, Utterance
from openomni.pipeline import spec

SIMULATED = ("stt:simulated", "llm:simulated", "tts:simulated")


def sample(name: str, utterances: int = 1, recording: str = "r1", **fields: Any) -> Sample:
    said = [
        Utterance(sound=Sound(path=recording, start=float(index), end=index + 1.0), **{"text": "one", **fields})
        for index in range(utterances)
    ]
    return Sample(id=name, utterances=tuple(said))


def into_reply(name: str) -> Sample:
    plain = sample(name, 2)
    cut = msgspec.structs.replace(plain.utterances[1], when=IntoReply(word=2))
    return msgspec.structs.replace(plain, utterances=(plain.utterances[0], cut))


def dataset(project: Project, *samples: Sample, name: str = "questions", number: int = 1) -> DatasetVersion:
    """As it lies in the tables after an import."""
    whole, _ = Dataset.objects.get_or_create(project=project, name=name)
    version = DatasetVersion.objects.create(
        project=project, dataset=whole, number=number, hash=f"{name}-{number}", samples=len(samples)
    )
    for path in {said.sound.path for each in samples for said in each.utterances}:
        known = {"status": Recording.Status.COMPLETE, "key": f"nowhere/{path}"}
        Recording.objects.get_or_create(id=path, project=project, defaults=known)
    rows = DatasetSample.objects.bulk_create(
        DatasetSample(
            project=project, version=version, position=position, sample_id=each.id, hash=each.id,
            needs_realtime=each.needs_realtime, content=msgspec.to_builtins(each),
        )
        for position, each in enumerate(samples)
    )  # fmt: skip
    DatasetUtterance.objects.bulk_create(
        DatasetUtterance(project=project, sample=row, index=index, recording=said.sound.path)
        for row, each in zip(rows, samples, strict=True)
        for index, said in enumerate(each.utterances)
    )
    return version


def simulated(name: str, text: str = "It is sunny today.", **llm: Any) -> dict[str, Any]:
    """A pipeline that answers with this text."""
    stages = [{"stt": "simulated", "delay_s": 0.0}, {"llm": "simulated", "text": text, "first_token_s": 0.0, **llm},
              {"tts": "simulated", "first_chunk_s": 0.0, "seconds": 0.1}]  # fmt: skip
    return {"name": name, "stages": stages, "turn_taking": {"vad": "energy"}}


def pipelines(project: Project, *names: str) -> list[str]:
    """Puts them; their hashes."""
    made = [spec.parse(simulated(name, f"I am {name}."), name) for name in names]
    for each in made:
        storing.store(project.pk, each)
    return [each.hash for each in made]


def agent(project: Project, *components: str, slots: int = 1) -> Any:
    """Alive for as long as a test takes."""
    seen = timezone.now() + timedelta(hours=1)
    return agent_with(project, *(components or SIMULATED), roles=["host"], slots=slots, last_seen=seen)
