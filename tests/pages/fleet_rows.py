"""Agents, tasks and pipelines for the pages' tests, made in the server's process (see `Site.fill`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

PROJECT = "default"
MINE = """\
name: {name}
description: Answers in a tone; nothing to download.
# A comment that stays.
stages:
  - stt: simulated
    text: What is the weather like?
  - emotion: simulated
  - llm: simulated
    text: {text}
    instructions: You are a helpful assistant. Answer in one short sentence.
  - tts: simulated
turn_taking: {{vad: energy, end_of_turn_silence: 0.3}}
"""
WHOLE = """\
name: whole
description: One model that hears, sees and speaks.
stages:
  - end_to_end: simulated
    frames: 2
"""
FAR = """\
name: far
description: Needs what nobody offers here.
stages:
  - stt: openai
  - llm: openai
    base_url: https://a-rather-long-name.example.org/v1
    model: large-model-of-somebody
  - tts: openai
"""


def clear() -> None:
    """No agent, no pipeline of one's own, no session."""
    from openomni.api.fleet.models import Agent
    from openomni.api.pipelines.models import Pipeline
    from openomni.api.records.models import Session

    for model in (Session, Agent, Pipeline):
        model.objects.all().delete()


def agents(number: int, silent: bool = False) -> list[str]:
    """So many agents, each with its offers, some with complaints, tasks and failures; the last ones are gone, one
    drains, one is still loading. `silent`: all are gone. Ids in the order of their names."""
    from django.utils import timezone

    from openomni.api.fleet.models import Agent, Offer
    from openomni.components import registry

    # Heard in an hour from now: alive for as long as a test takes.
    now, later = timezone.now(), timezone.now() + timedelta(hours=1)
    ids = []
    for place in range(number):
        gone = silent or (number > 3 and place >= number - 2)
        starting = not silent and number > 3 and place == 2
        agent = Agent.objects.create(
            project_id=PROJECT,
            name=f"gpu-{place:02}.lab-of-a-long-name.example.org" if place == 1 else f"box-{place:02}",
            roles=["host"] if place % 2 == 0 else [],
            slots=4,
            busy=place % 5 if not gone else 0,
            sessions=place % 3 if place % 2 == 0 and not gone else 0,
            version="0.0.9" if place == 3 else "0.2.0",
            draining=not silent and number > 3 and place == 4,
            health="1 component call never returned" if place == 1 else "",
            registered_at=later + timedelta(hours=1) if starting else now - timedelta(days=2, minutes=place),
            last_seen=now - timedelta(minutes=7 + place) if gone else later,
            machine={"host": f"box-{place:02}", "cpu": "AMD EPYC 7763 64-Core Processor", "cores": 16,
                     "memory": 64 * 2**30, "os": "Linux-6.1", "python": "3.11.9"},
            accelerators=[{"name": "NVIDIA A100 80GB", "memory": 80 * 2**30}] if place == 1 else [],
        )  # fmt: skip
        if starting:
            Agent.objects.filter(pk=agent.pk).update(registered_at=now, last_seen=now)
        ids.append(agent.pk)
        for (kind, name), info in registry.registered().items():
            if name == "simulated" or (place % 2 and name in ("faster-whisper", "llama-cpp", "piper")):
                about = {"version": info.version, "package": info.package, "description": info.description}
                Offer.objects.create(project_id=PROJECT, agent=agent, kind=kind, name=name, schema=info.schema, **about)
    if ids:
        _tasks([Agent.objects.get(pk=each).name for each in ids[:2]])
    return ids


def _tasks(names: list[str]) -> None:
    from openomni.api.records.models import Attempt, Session, Task, Turn

    own: dict[str, Any] = {"project_id": PROJECT}
    session = Session.objects.create(id="s" * 32, pipeline="mine", **own)
    for index in range(12):
        turn = Turn.objects.create(id=f"t{index:031}", session=session, index=index, pipeline="mine",
                                   status="completed", voice_to_voice_s=0.6 + index / 20, **own)  # fmt: skip
        for place, kind in enumerate(("stt", "llm", "tts")):
            bad = index == 5 and kind == "llm"
            reason = (
                "the model server at http://gpu.lab:8000/v1 answered 503: overloaded; try again later" if bad else ""
            )
            task = Task.objects.create(turn=turn, task_id=f"{index}-{kind}", place=place, kind=kind, reason=reason,
                                       component="simulated", agent=names[index % len(names)], queue_s=0.0012,
                                       transfer_s=0.0004, load_s=0.0, model_s=0.1 + index / 100, ttfb_s=0.05,
                                       status="failed" if bad else "completed", **own)  # fmt: skip
            Attempt.objects.create(task=task, number=1, agent=task.agent, status=task.status, reason=reason, **own)


def store(name: str, text: str = "It is sunny today.", by: str = "owner") -> int:
    """A pipeline of ours, or its next version; its number."""
    return store_text(MINE.format(name=name, text=text), by)


def store_text(text: str, by: str = "owner") -> int:
    from openomni.api.accounts.models import User
    from openomni.api.pipelines import storing
    from openomni.pipeline import spec

    user = User.objects.filter(username=by).first()
    return storing.store(PROJECT, spec.parse(text), text, user and user.pk).version.number


def pipelines() -> None:
    """Three of our own: one with versions, an end-to-end one, one that nobody can run."""
    store("mine")
    store("mine", "It rains. Take an umbrella.")
    store_text(WHOLE)
    store_text(FAR)


def text_of(name: str) -> str:
    """The current text of a pipeline."""
    from openomni.api.pipelines import catalogue

    return catalogue.find(PROJECT, name).text


def count_versions(name: str) -> int:
    from openomni.api.pipelines.models import PipelineVersion

    return PipelineVersion.objects.filter(pipeline__name=name).count()


def forget(agent_id: str) -> None:
    """As if somebody had taken the agent out."""
    from openomni.api.fleet.models import Agent

    Agent.objects.filter(pk=agent_id).delete()
