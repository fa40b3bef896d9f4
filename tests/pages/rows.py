"""Rows for the pages' tests. Called by `Site.fill` in a process that has the server's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openomni.api.accounts.models import User


def session_of_owner() -> str:
    """The key of a session in which the server's owner is signed in; they have a password already."""
    from openomni.api.accounts.models import User

    owner = User.objects.get(username="owner")
    owner.set_password("correct horse battery")
    owner.save()
    return _session(owner)


def session_of(name: str, role: str, password: str) -> str:
    """The key of a session of somebody new: `role` in the project default, none if empty; `password` may be empty."""
    from openomni.api.accounts.models import Membership, User

    user = User(username=name, is_staff=True)
    user.set_password(password or None)
    user.save()
    if role:
        Membership.objects.create(user=user, project_id="default", role=role)
    return _session(user)


def without_a_table() -> str:
    """The database is damaged: what agents offer is gone."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE fleet_offer")
    return "fleet_offer"


def _session(owner: User) -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    store = SessionStore()
    store[SESSION_KEY] = str(owner.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = owner.get_session_auth_hash()
    store.create()
    return str(store.session_key)


def much(sessions: int = 40, turns: int = 5) -> str:
    """A full project: agents that are alive for a day, sessions with turns and recordings, pipelines of its own, what
    failed and what waits. Its slug."""
    from datetime import timedelta

    from django.utils import timezone

    from openomni.api.accounts.models import Project
    from openomni.api.pipelines.models import Pipeline, version_of
    from openomni.api.records.models import Progress, Recording, Session, Turn
    from openomni.pipeline import spec

    project, _ = Project.objects.get_or_create(slug="full", defaults={"name": "A ward full of conversations"})
    _agents(project)
    for number in range(12):
        stages = [{"stt": "faster-whisper"}, {"llm": f"model-{number % 3}"}, {"tts": "piper"}]
        pipeline = spec.parse({"name": f"ward-{number}", "stages": stages})
        version = version_of("full", pipeline.name, pipeline.hash, pipeline.normalised())
        Pipeline.objects.filter(pk=version.pipeline_id).update(current=version)
    now = timezone.now()
    made = [
        Session(
            id=f"session-{number}", project=project, pipeline="local", device="kitchen", status=Session.Status.CLOSED,
            started_at=now - timedelta(hours=number), spec=spec.builtin()["local"].normalised(), version=1,
        )
        for number in range(sessions)
    ]  # fmt: skip
    Session.objects.bulk_create(made)
    said = "What is the capital of France, and how many people live there, if I may ask " * 3
    Turn.objects.bulk_create(
        Turn(
            id=f"turn-{session.pk}-{index}", project=project, session=session, index=index, transcript=said,
            reply_text="Paris.", status=Progress.FAILED if index == 3 else Progress.COMPLETED, version=1,
            voice_to_voice_s=0.8,
        )
        for session in made
        for index in range(turns)
    )  # fmt: skip
    Recording.objects.bulk_create(
        Recording(
            id=f"recording-{session.pk}-{index}", project=project, session=session, received=3_200_000, version=1,
            status=Recording.Status.AWAITED if session.pk == "session-1" else Recording.Status.COMPLETE,
        )
        for session in made
        for index in range(turns)
    )  # fmt: skip
    Recording.objects.filter(pk="recording-session-1-0").update(created_at=now - timedelta(days=2))
    return project.slug


def agents_in_default() -> str:
    """Agents that offer what the built-in pipeline needs, in the project default, for a day."""
    from openomni.api.accounts.models import Project

    _agents(Project.objects.get(slug="default"), 1)
    return "default"


def agents_gone() -> str:
    """The agents of the project default were last seen an hour ago."""
    from datetime import timedelta

    from django.utils import timezone

    from openomni.api.fleet.models import Agent

    Agent.objects.filter(project="default").update(last_seen=timezone.now() - timedelta(hours=1))
    return "default"


def _agents(project: object, count: int = 8) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from openomni.api.fleet.models import Agent, Offer, new_id

    for number in range(count):
        agent = Agent.objects.create(
            id=new_id(), project=project, name=f"box-{number}", last_seen=timezone.now() + timedelta(days=1),
            roles=["host"], slots=4, busy=number % 5, version="0.2.0", draining=number == 3,
            health="a component call never returned" if number == 4 else "",
        )  # fmt: skip
        for offer in ("stt:faster-whisper", "llm:llama-cpp", "tts:piper"):
            kind, _, name = offer.partition(":")
            Offer.objects.create(project=project, agent=agent, kind=kind, name=name, schema={"type": "object"})
