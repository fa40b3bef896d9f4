"""Datasets of recorded turns and sessions: where their samples lie, and what is known of them."""

from __future__ import annotations

from typing import Any

import pytest

from api.support import Api
from openomni.api.accounts.models import Project
from openomni.api.records.models import Recording, Segment, Session, Tag, Tagged, Turn

RATE = 16_000


@pytest.fixture
def talk(project: Project) -> Session:
    """A session whose recording begins half a second after its axis, with two turns that were said and one typed."""
    session = Session.objects.create(
        project=project, id="s1", pipeline="local", participant="p7", consent="recording, research", device="box"
    )
    Recording.objects.create(
        project=project, id="r1", session=session, status="complete", sha256="1" * 64, rate=RATE, samples=20 * RATE,
        position=RATE // 2,
    )  # fmt: skip
    said(session, "t1", 1.5, 3.0, transcript="Ouvre the door.", language="en")
    said(session, "t2", 7.25, 9.0, transcript="Thanks.")
    turn(session, "typed", transcript="Hello.")
    turn(session, "again", live=False, reruns="t1", transcript="Open the door.", given={"stt": "corrected"})
    return session


def turn(session: Session, key: str, **fields: Any) -> Turn:
    known = {"index": session.turns.count(), "pipeline": "local", "status": "completed", "participant": "p7"}
    return Turn.objects.create(project=session.project, id=key, session=session, **{**known, **fields})


def said(session: Session, key: str, start: float, end: float, **fields: Any) -> Turn:
    place = {"recording": "r1", "start": round(start * RATE), "end": round(end * RATE)}
    made = turn(session, key, recording="r1", utterance=place, **fields)
    Segment.objects.create(
        project=session.project, session=session, turn=made, start=place["start"], end=place["end"],
        participant="p7", consent="research",
    )  # fmt: skip
    return made


def made(admin: Api, **body: Any) -> tuple[Any, list[Any]]:
    answer = admin("POST", "/datasets/home/recorded", body, 201)
    return {**answer["kept"], "left_out": answer["left_out"]}, [
        each["sample"] for each in admin("GET", "/datasets/home/samples")["items"]
    ]


@pytest.mark.usefixtures("talk")
def test_turns_are_stretches_of_their_recording_without_what_was_only_recognised(admin: Api) -> None:
    version, (first, second) = made(admin, turns={})
    assert version["left_out"] == [{"turn_id": "typed", "why": "it has no sound, such as what was typed"}]
    assert version["seconds"] == 3.25
    (one,), (two,) = first["utterances"], second["utterances"]
    assert (first["id"], first["group"]) == ("t1", "s1")
    assert one["sound"] == {"path": "r1", "start": 1.0, "end": 2.5}
    assert (one["text"], one["fields"]) == ("Open the door.", {"heard": "Ouvre the door."})
    assert (one["speaker"], one["consent"], one["language"]) == ("p7", "research", "en")
    assert "text" not in two
    assert two["fields"] == {"heard": "Thanks."}
    assert made(admin, turns={})[0]["version"] == 1


@pytest.mark.usefixtures("talk")
def test_a_session_is_a_dialogue_with_the_timing_that_it_had(admin: Api) -> None:
    _, (dialogue,) = made(admin, sessions=["s1", "s1"])
    assert dialogue["id"] == "s1"
    times = [(each["when"]["rule"], each["when"]["seconds"]) for each in dialogue["utterances"]]
    assert times == [("at_time", 0.0), ("at_time", 5.75)]
    assert [each["id"] for each in dialogue["utterances"]] == ["t1", "t2"]
    assert "no session 'nowhere'" in admin.error("POST", "/datasets/x/recorded", {"sessions": ["nowhere"]}, status=404)


def test_only_what_fits_and_was_said_live_is_taken(admin: Api, talk: Session, project: Project) -> None:
    Tagged.objects.create(project=project, tag=Tag.objects.create(project=project, name="good"), turn_id="t2")
    for wanted in ({"tag": "good"}, {"tag": "good", "session": "s1", "device": "box", "pipeline": "local"}):
        assert [each["id"] for each in made(admin, turns=wanted)[1]] == ["t2"]
    assert [each["id"] for each in made(admin, turns={"participant": "p7", "until": "2090-01-01T00:00:00Z"})[1]] == [
        "t1",
        "t2",
    ]

    def refused(status: int, **body: Any) -> str:
        return admin.error("POST", "/datasets/home/recorded", body, status=status)

    assert "no live turn" in refused(422, turns={"since": "2090-01-01T00:00:00Z"})
    refused(400)
    Turn.objects.filter(pk="t1").update(origin="experiment")
    Turn.objects.filter(pk="typed").delete()
    Recording.objects.update(status="receiving")
    assert "still being uploaded" in refused(422, sessions=["s1"])
