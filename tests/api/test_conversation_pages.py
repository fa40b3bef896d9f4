"""The pages of conversations: who sees what, and how much is asked of the database for it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.support import person
from openomni.api.accounts.models import Membership, Project, Role
from openomni.api.records.models import Derived, Recording
from openomni.api.records.recorder import write_batch
from openomni.records import PauseRecord, SegmentRecord, SessionRecord, StageRecord, TimePointRecord, TurnRecord
from openomni.trace import Part

FIELDS: dict[str, Any] = {"pipeline": "local", "pipeline_hash": "abc", "spec": {"stages": []}, "status": "closed"}


def session(key: str, project: str = "home", **more: Any) -> SessionRecord:
    return SessionRecord(project=project, session_id=key, **{**FIELDS, **more})


def turn(session: str, index: int, said: str, project: str = "home", **more: Any) -> TurnRecord:
    fields = {"status": "completed", "reply_text": "Well.", "voice_to_voice_s": 0.5 + index, **more}
    start = 160_000 * index
    return TurnRecord(
        project=project, turn_id=f"{session}-{index}", session_id=session, index=index, pipeline="local",
        pipeline_hash="abc", transcript=said, segments=[SegmentRecord("user", start, start + 16_000)],
        time_points=[TimePointRecord("playback_started", 0.5, "client"),
                     TimePointRecord("playback_ended", 1.7, "client")],
        parts=[Part("end_of_turn", "", 0.0, 0.5)], **fields,
    )  # fmt: skip


@pytest.fixture
def reader(project: Project) -> Client:
    browser = Client()
    browser.force_login(person("ada", Role.VIEWER, project))
    return browser


def test_a_page_looks_out_for_what_is_derived_of_a_film_that_has_just_come(reader: Client) -> None:
    write_batch([session("s1")])
    film = Recording.objects.create(
        id="film", project_id="home", session_id="s1", kind="video", status="complete", completed_at=timezone.now()
    )
    assert 'data-follows="yes"' in page_of(reader, "/conversations/s1/")
    strip = Derived.objects.create(recording=film, project_id="home", kind="thumbnail", key="k", size=1)
    page = page_of(reader, "/conversations/s1/")
    assert 'data-follows=""' in page
    assert 'src="/api/v1/recordings/film/derived/thumbnail?project=home"' in page
    strip.delete()
    Recording.objects.update(completed_at=timezone.now() - timedelta(hours=1))
    assert 'data-follows=""' in page_of(reader, "/conversations/s1/"), "it will not come any more"


def page_of(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def test_sessions_are_listed_with_what_was_said_first_and_the_median_of_good_turns(reader: Client) -> None:
    write_batch([
        session("s1", device="bedside"), turn("s1", 0, "Good morning"), turn("s1", 1, "And now?"),
        turn("s1", 2, "Stop", interrupted=True), turn("s1", 3, "Broken", status="failed"),
        session("s2"),
    ])  # fmt: skip
    page = page_of(reader, "/conversations/")
    assert page.index("Session s2") < page.index("“Good morning”"), "newest first"
    row = page[page.index("Good morning") :]
    assert "bedside" in row
    assert re.search(r">\s*1\.00 s\s*<", row), "of 0.5 and 1.5 s, the interrupted and the failed left out"
    assert 'aria-current="page">Conversations' in page


def test_they_are_found_by_what_was_said_or_answered_and_by_pipeline(reader: Client) -> None:
    write_batch([
        session("s1"), turn("s1", 0, "the red fox"), turn("s1", 1, "more"),
        session("s2", pipeline="other", pipeline_hash="x"), turn("s2", 0, "hello", reply_text="A fox, you say"),
        session("s3"), turn("s3", 0, "100% sure"),
    ])  # fmt: skip

    def found(query: str) -> set[str]:
        return set(re.findall(r'href="/conversations/(s\d)/"', page_of(reader, f"/conversations/?{query}")))

    assert found("") == {"s1", "s2", "s3"}
    assert found("q=FOX") == {"s1", "s2"}
    assert found("q=fox&pipeline=local") == {"s1"}
    assert found("q=100%25") == {"s3"}
    assert found("q=nowhere") == set()
    assert "Nothing like that was said" in page_of(reader, "/conversations/?q=nowhere")


def test_they_are_paged_by_cursor(reader: Client) -> None:
    write_batch([session(f"s{number:02}") for number in range(30)])
    seen: list[str] = []
    path = "/conversations/"
    while path:
        page = page_of(reader, path)
        seen += re.findall(r'href="/conversations/(s\d+)/"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = "/conversations/" + older[1].replace("&amp;", "&") if older else ""
    assert seen == [f"s{number:02}" for number in reversed(range(30))]
    assert reader.get("/conversations/?cursor=nonsense").headers["Location"] == "/conversations/"


def test_a_cursor_that_is_none_leads_to_the_first_page(reader: Client) -> None:
    for cursor in ("!!", "x" * 5000):
        assert reader.get("/conversations/", {"cursor": cursor})["Location"] == "/conversations/"


def test_a_project_without_any_leads_to_talking(reader: Client) -> None:
    page = page_of(reader, "/conversations/")
    assert "No conversation yet" in page
    assert 'href="/talk/"' in page


def test_a_session_shows_both_sides_with_their_times_and_what_went_wrong(reader: Client) -> None:
    write_batch([
        session("s1", status="lost", reason="the agent box-1 is gone"),
        turn("s1", 0, "Tell me <b>all</b>", reply_text="Once upon a time"),
        turn("s1", 1, "Stop", interrupted=True, reason="the person spoke"),
        turn("s1", 2, "Go on", status="failed", reason="llama-cpp: out of memory", voice_to_voice_s=None),
    ])  # fmt: skip
    page = page_of(reader, "/conversations/s1/")
    assert "Tell me &lt;b&gt;all&lt;/b&gt;" in page
    assert "<b>all" not in page
    assert "This session was cut off: the agent box-1 is gone" in page
    assert "Cut off after 1.2 s of its sound: the person spoke" in page
    assert "llama-cpp: out of memory" in page
    assert "▶ 0:09" in page, "a breath before the second turn, which begins at 10 s"
    assert 'data-play="11.50"' in page, "its reply was heard half a second after its end"
    assert 'data-follows=""' in page


def test_what_was_not_heard_of_a_reply_is_struck(reader: Client) -> None:
    def cut(index: int, heard: str) -> TurnRecord:
        writer = StageRecord(task_id=f"llm{index}", kind="llm", component="llama-cpp", output={"heard": heard})
        reply = "Once <upon> a time, there was"
        return turn("s1", index, "Tell me", reply_text=reply, interrupted=True, stages=[writer])

    dashed = cut(3, "Ideas First, walk")
    dashed.reply_text = "Ideas 🙂 :\n-- First, walk more. - Then rest."
    unbroken = cut(4, "罗马很")
    unbroken.reply_text = "罗马很大。"
    whole = turn("s1", 2, "Go on", reply_text="She went home.")
    write_batch([session("s1"), cut(0, "Once <upon>"), cut(1, ""), whole, dashed, unbroken])
    page = page_of(reader, "/conversations/s1/")
    assert "Once &lt;upon&gt; <del>a time, there was</del>" in page
    assert "<del>Once &lt;upon&gt; a time, there was</del>" in page
    assert "<dd>She went home." in page
    assert "First, walk <del>" in page, "three words were heard: a smiley and a dash are none"
    assert "罗马很<del>大。</del>" in page, "without blanks, too"


def test_an_open_session_is_followed(reader: Client) -> None:
    write_batch([session("s1", status="open")])
    page = page_of(reader, "/conversations/s1/")
    assert 'data-follows="yes"' in page
    assert "still going on" in page


def test_what_was_typed_is_told_from_what_was_spoken(reader: Client) -> None:
    typed = turn("s1", 1, "And Rome?")
    typed.segments.clear()
    write_batch([session("s1"), turn("s1", 0, "Hello"), typed])
    _, spoken, written = page_of(reader, "/conversations/s1/").split('<dt class="person">')
    assert spoken.startswith("Person</dt>")
    assert ">typed</span></dt>" in written[:60]


def test_a_timeline_comes_when_it_is_asked_for(reader: Client) -> None:
    write_batch([session("s1"), turn("s1", 0, "Hello"), session("s2")])
    assert "<svg" not in page_of(reader, "/conversations/s1/").split('id="turns"')[1]
    assert "end of turn: 500.0 ms" in page_of(reader, "/conversations/s1/s1-0/timeline/")
    assert reader.get("/conversations/s2/s1-0/timeline/").status_code == 404


def test_a_timeline_says_how_the_end_was_found_and_what_was_lost(reader: Client) -> None:
    pauses = [
        PauseRecord(at=8_000, revision=0, finished=0.4, silence_s=0.74),
        PauseRecord(at=16_000, revision=1, finished=0.9, language_model=0.8, silence_s=0.4, ended=True),
    ]
    writer = StageRecord(
        task_id="llm", kind="llm", component="llama-cpp", status="completed",
        queue_s=0.01, lost_s=0.2, model_s=0.1, started_s=0.5, ended_s=0.81,
    )  # fmt: skip
    write_batch([session("s1"), turn("s1", 0, "Hello", pauses=pauses, stages=[writer])])
    page = page_of(reader, "/conversations/s1/s1-0/timeline/")
    assert "90% sure that the person had finished (language model 80%), so 0.40 s of silence ended it" in page
    assert "in 1 pause before that, the person went on" in page
    assert "llama-cpp lost attempts: 200.0 ms from 510.0 ms on" in page


def test_queries_grow_neither_with_turns_nor_with_sessions(reader: Client) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as counted:
            page_of(reader, path)
        return len(counted)

    write_batch([session("s1"), turn("s1", 0, "Hello")])
    queries("/conversations/")  # what is asked once
    few = queries("/conversations/s1/"), queries("/conversations/")
    write_batch([session(f"more{number}") for number in range(20)])
    write_batch([turn("s1", index, "Hello again") for index in range(1, 200)])
    assert (queries("/conversations/s1/"), queries("/conversations/")) == few
    assert max(few) <= 14


def test_nobody_sees_what_another_project_said(reader: Client, other_project: Project) -> None:
    write_batch([session("theirs", project="ward"), turn("theirs", 0, "zebra", project="ward")])
    assert "zebra" not in page_of(reader, "/conversations/?q=zebra").split("<main")[1].replace("“zebra”", "").replace(
        'value="zebra"', ""
    )
    for path in ("/conversations/theirs/", "/conversations/theirs/theirs-0/timeline/"):
        answer = reader.get(path)
        assert answer.status_code == 404
        assert "zebra" not in answer.content.decode()


def test_a_link_leads_a_member_into_its_project(project: Project, other_project: Project) -> None:
    write_batch([session("theirs", project="ward"), turn("theirs", 0, "zebra", project="ward")])
    user = person("ada", Role.OWNER, project)
    Membership.objects.create(user=user, project=other_project, role=Role.VIEWER)
    browser = Client()
    browser.force_login(user)
    answer = browser.get("/conversations/theirs/")
    assert answer.headers["Location"] == "/conversations/theirs/?project=ward"
    assert "zebra" in page_of(browser, answer.headers["Location"])


def test_who_is_not_signed_in_lands_on_the_page_after_it(project: Project) -> None:
    write_batch([session("s1"), turn("s1", 0, "zebra")])
    person("ada", Role.VIEWER, project)
    browser = Client()
    asked = browser.get("/conversations/s1/").headers["Location"]
    assert parse_qs(urlsplit(asked).query)["next"] == ["/conversations/s1/"]
    # The form is sent to the address that it came from.
    answer = browser.post(asked, {"username": "ada", "password": "correct horse battery"})
    assert answer.headers["Location"] == "/conversations/s1/"
