"""Turns for the pages of reports, made in the server's process (see `Site.fill`)."""

from __future__ import annotations

import random

PROJECT = "default"
STAGES = (("stt", "faster-whisper", 0.12), ("llm", "llama-cpp", 0.3), ("tts", "piper", 0.08))


def clear() -> None:
    from openomni.api.records.models import Session

    Session.objects.all().delete()


def turns(number: int = 250) -> int:
    """So many through each of three pipelines, one of them queued; some of every outcome."""
    from openomni.api.records.models import Session, Task, Turn

    drawn = random.Random(11)
    session = Session.objects.create(id="r" * 32, project_id=PROJECT, pipeline="local", status="closed")
    faults = [
        {"status": "failed", "outcome": "failed"}, {"status": "cancelled", "outcome": "cancelled"},
        {"status": "started", "outcome": ""}, {"outcome": "unanswered", "voice_to_voice_s": None},
        {"interrupted": True, "outcome": "interrupted"}, {"voice_to_voice_s": -0.2}, {"voice_to_voice_s": 3.6},
        {"origin": "bench"}, {"warm": False},
    ]  # fmt: skip
    kinds = (("local", 0.7, True), ("a-pipeline-of-a-rather-long-name-with-large-models", 1.4, True),
             ("overnight", 1.0, False))  # fmt: skip
    for name, middle, live in kinds:
        made = []
        for index in range(number):
            fault = faults[index] if index < len(faults) and live else {}
            told = {
                "status": "completed", "outcome": "answered", "warm": True, "origin": "person",
                "voice_to_voice_s": drawn.lognormvariate(0, 0.3) * middle if live else None,
            } | fault  # fmt: skip
            made.append(
                Turn(id=f"{name[:9]}{index:023}", project_id=PROJECT, session=session, index=index, pipeline=name,
                     pipeline_hash=f"{round(middle * 0x5A17C3E9):08x}" * 8, live=live, **told)
            )  # fmt: skip
        Turn.objects.bulk_create(made)
        Task.objects.bulk_create(
            Task(project_id=PROJECT, turn=turn, task_id=f"{turn.pk}{kind}", place=place, kind=kind, component=component,
                 agent="box-01", status="completed", queue_s=drawn.random() / 500, lost_s=0.0, transfer_s=0.0004,
                 load_s=0.0, model_s=drawn.lognormvariate(0, 0.4) * seconds * middle, ttfb_s=seconds / 2,
                 started_s=place * 0.1, ended_s=place * 0.1 + seconds + drawn.random())
            for turn in made
            for place, (kind, component, seconds) in enumerate(STAGES)
        )  # fmt: skip
    return number * len(kinds)
