"""Campaigns: begun, given out item by item, handed in, skipped, and what becomes of whom leaves."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.annotated import annotator, begun, conversation, rated_of, standing_values
from api.support import Api, api_for, person
from openomni.api.accounts.models import Project, Role, Scope
from openomni.api.annotation import selecting
from openomni.api.annotation.models import Assignment, Campaign, CampaignItem
from openomni.api.records.models import Tag, Tagged, Turn
from openomni.api.scores.models import Metric, Outcome, Score

pytestmark = pytest.mark.django_db


def expire() -> None:
    """As if nobody had done anything for an hour."""
    Assignment.objects.exclude(leased_until=None).update(leased_until=timezone.now() - timedelta(hours=1))


# ---- beginning -------------------------------------------------------------------------------------------------


def test_a_campaign_has_its_items_its_metrics_and_its_people(admin: Api, project: Project) -> None:
    conversation(project, "talk", 4)
    annotator(project, "ann"), annotator(project, "bob")
    made = begun(admin, annotators=["ann", "bob"], per_item=2, metrics=["recognition", "overall"])
    assert (made["items"], made["places"]["planned"], made["places"]["done"]) == (4, 8, 0)
    assert [each["metric"] for each in made["metrics"]] == ["recognition", "overall"]
    assert [each["annotator"] for each in made["annotators"]] == ["ann", "bob"]
    assert begun(admin, annotators=["ann", "bob"], per_item=2, metrics=["recognition", "overall"]) == made
    assert "of another content" in begun(admin, expect=409)["error"]
    assert admin("GET", "/campaigns/first") == made == admin("GET", "/campaigns")["items"][0]


@pytest.mark.parametrize(
    ("fields", "status", "line"),
    [
        ({"metrics": ["overal"]}, 404, "there is no metric 'overal' in this project; did you mean 'overall'?"),
        ({"metrics": ["multi_turn"]}, 422, "multi_turn is about a group, and this campaign gives out each turn"),
        ({"annotators": ["nobody"]}, 404, "there is nobody called 'nobody' in this project"),
        ({"annotators": ["viv"]}, 422, "viv is a viewer of this project, who does not annotate"),
        ({"from": {"pipelines": ["lokal"]}}, 404, "`from` names the pipeline 'lokal', which has nothing here"),
        ({"from": {"experiment": "none"}}, 404, "there is no experiment 'none'"),
        ({"from": {"tags": ["none"]}}, 404, "`from` names the tag 'none'"),
        ({"from": {"since": "2090-01-01"}}, 422, "`from` finds no turn to annotate"),
        ({"from": {}}, 400, "campaign:1: `from` says what is annotated"),
        ({"of": "group"}, 400, "campaign:1: a group is the turns of a tag"),
        ({"per_item": 3, "annotators": ["ann", "bob"]}, 400, "campaign:1: per_item is 3, and there are 2 annotators"),
        ({"gold": [{"turn": "talk-0", "expect": {"overall": 9}}]}, 422, "gold: overall takes a whole number of 0 to 5"),
        ({"gold": [{"turn": "talk-9", "expect": {"overall": 5}}]}, 404, "there is no turn 'talk-9'"),
        ({"traps": [{"turn": "talk-0", "expect": {}}]}, 400, "campaign:1: traps: `expect` has the answer"),
        ({"colour": "red"}, 400, "campaign:1: unknown key 'colour'"),
        ({"lease": 0}, 400, "campaign:1: "),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    admin: Api, project: Project, fields: Any, status: int, line: str
) -> None:
    conversation(project, "talk", 2)
    annotator(project, "ann"), annotator(project, "bob"), person("viv", Role.VIEWER, project)
    assert begun(admin, expect=status, **fields)["error"].startswith(line)
    assert not Campaign.objects.exists()


def test_the_metrics_of_a_campaign_stay_as_they_were_when_it_began(admin: Api, project: Project) -> None:
    conversation(project, "talk", 2)
    ann = annotator(project, "ann")
    begun(admin)
    ann.hand_in(ann.item("first"))
    stricter = "metric: overall\nquestion: Really?\nscale: {kind: integer, from: 0, to: 3}\n"
    admin("PUT", "/metrics/overall", {"yaml": stricter}, 201)
    admin("DELETE", "/metrics/overall", expect=204)
    item = ann.item("first")
    assert item["metrics"][0]["question"] == "How good was this turn, all in all?"
    ann.hand_in(item, answers={"overall": {"answer": 5}})
    assert {row.metric.version for row in Score.objects.all()} == {Metric.objects.earliest("created_at").version}


def test_a_sample_is_drawn_from_all_that_is_found(
    admin: Api, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation(project, "talk", 30)
    monkeypatch.setattr(selecting, "MAX_ITEMS", 10)
    assert "more than 10 items" in begun(admin, expect=422)["error"]
    assert begun(admin, sample=8, seed=3)["items"] == 8
    drawn = {int(item.target_id.partition("-")[2]) for item in CampaignItem.objects.all()}
    assert max(drawn) > 10, "not only of the first"
    monkeypatch.setattr(selecting, "MAX_FOUND", 20)
    assert "finds more than 20" in begun(admin, campaign="second", sample=8, expect=422)["error"]


# ---- giving out ------------------------------------------------------------------------------------------------


def test_each_item_goes_to_exactly_so_many_people(admin: Api, project: Project) -> None:
    conversation(project, "talk", 7)
    people = [annotator(project, name) for name in ("ann", "bob", "cy")]
    begun(admin, per_item=2)
    done: dict[str, list[str]] = {}
    left = list(people)
    while left:
        for each in list(left):
            found = each.next("first")["item"]
            if found is None:
                left.remove(each)
                continue
            each.hand_in(found)
            done.setdefault(rated_of(found), []).append(each.user.username)
    assert sorted(done) == [f"talk-{index}" for index in range(7)]
    assert all(len(names) == len(set(names)) == 2 for names in done.values())
    assert admin("GET", "/campaigns/first")["places"] == {"planned": 14, "done": 14, "leased": 0}


def test_each_has_an_order_of_their_own_and_asking_again_gives_the_same_item(admin: Api, project: Project) -> None:
    conversation(project, "talk", 30)
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    begun(admin, per_item=2)
    assert ann.item("first") == {**ann.item("first")}
    orders = [ann.all_of("first"), bob.all_of("first")]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    begun(admin, campaign="given", order="given", per_item=2)
    assert ann.all_of("given") == bob.all_of("given") == [f"talk-{index}" for index in range(30)]


def test_an_item_whose_holder_left_goes_on_and_what_they_entered_comes_back(admin: Api, project: Project) -> None:
    conversation(project, "talk", 1)
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    begun(admin)
    item = ann.item("first")
    kept = {"draft": {"answers": {"overall": {"answer": 2}}}, "version": 0}
    assert ann.api("PUT", f"/annotation/items/{item['assignment']}/draft", kept) == {"version": 1}
    assert bob.next("first") == {"item": None, "waits": True, "done": 0, "left": 0}
    expire()
    theirs = bob.item("first")
    assert theirs["draft"] == {}
    line = ann.hand_in(item, 409)["error"]
    assert line.startswith("you were away, and somebody else has this item now; what you entered is kept")
    expire()
    again = ann.item("first")
    assert again["draft"] == {"answers": {"overall": {"answer": 4}}}
    ann.hand_in(again)
    assert bob.hand_in(theirs, 409)["state"] == "left"
    assert standing_values() == {"talk-0": [4.0]}
    assert admin("GET", "/campaigns/first")["places"]["done"] == 1


def test_who_comes_back_late_hands_in_where_nobody_else_took_it(admin: Api, project: Project) -> None:
    conversation(project, "talk", 1)
    ann = annotator(project, "ann")
    begun(admin)
    item = ann.item("first")
    expire()
    assert ann.hand_in(item)["status"] == "done"


def test_two_pages_of_one_person_have_one_item_and_lose_nothing(admin: Api, project: Project) -> None:
    conversation(project, "talk", 3)
    ann = annotator(project, "ann")
    begun(admin)
    one, other = ann.item("first"), ann.item("first")
    assert one["assignment"] == other["assignment"]
    path = f"/annotation/items/{one['assignment']}/draft"
    ann.api("PUT", path, {"draft": {"a": 1}, "version": 0})
    assert "another page of yours" in ann.api.error("PUT", path, {"draft": {"b": 2}, "version": 0}, status=409)
    ann.hand_in(one)
    # The same twice counts once; another answer corrects it, and the first one stays on record.
    ann.hand_in(other)
    ann.hand_in(other, answers={"overall": {"answer": 1}})
    assert standing_values()[rated_of(one)] == [4.0, 1.0]
    assert admin("GET", "/campaigns/first")["places"]["done"] == 1


def test_what_is_skipped_goes_to_somebody_else_with_the_reason_told(admin: Api, project: Project) -> None:
    conversation(project, "talk", 1)
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    begun(admin)
    item = ann.item("first")
    ann.api("POST", f"/annotation/items/{item['assignment']}/skip", {"reason": "no sound"})
    assert ann.next("first") == {"item": None, "waits": False, "done": 0, "left": 0}
    assert "it is done already" in _skipped_after(bob.hand_in(bob.item("first")), bob)
    told = admin("GET", "/campaigns/first")
    assert (told["skipped"], told["places"]["done"]) == ([{"reason": "no sound", "count": 1}], 1)


def _skipped_after(done: Any, who: Any) -> str:
    return str(who.api.error("POST", f"/annotation/items/{done['assignment']}/skip", {"reason": "x"}, status=409))


def test_who_is_removed_loses_nothing_and_may_come_back(admin: Api, project: Project) -> None:
    conversation(project, "talk", 2)
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    begun(admin, annotators=["ann", "bob"], per_item=1)
    ann.hand_in(ann.item("first"))
    held = ann.item("first")
    admin("PATCH", "/campaigns/first", {"remove": ["ann"]})
    assert ann.next("first")["item"] is None
    assert rated_of(bob.item("first")) == rated_of(held)
    told = admin("PATCH", "/campaigns/first", {"add": ["ann"]})
    assert {each["annotator"]: (each["done"], each["removed"]) for each in told["annotators"]} == {
        "ann": (1, False), "bob": (0, False),
    }  # fmt: skip
    assert "there is no annotator 'eve'" in admin.error("PATCH", "/campaigns/first", {"remove": ["eve"]}, status=404)


def test_a_campaign_asks_until_it_is_paused_closed_or_over(admin: Api, project: Project) -> None:
    conversation(project, "talk", 2)
    ann = annotator(project, "ann")
    begun(admin)
    admin("PATCH", "/campaigns/first", {"status": "paused"})
    assert ann.next("first")["item"] is None
    admin("PATCH", "/campaigns/first", {"status": "open"})
    item = ann.item("first")
    admin("PATCH", "/campaigns/first", {"until": "2001-01-01T00:00:00Z"})
    ann.hand_in(item)  # what somebody has is taken
    assert ann.next("first")["item"] is None
    admin("PATCH", "/campaigns/first", {"status": "closed"})
    assert "is closed" in admin.error("PATCH", "/campaigns/first", {"status": "open"}, status=409)


# ---- what is asked, and answered ---------------------------------------------------------------------------------


def test_a_stages_metric_is_asked_where_the_turn_has_that_stage_and_scores_its_task(
    admin: Api, project: Project
) -> None:
    conversation(project, "talk", 1)
    conversation(project, "whole", 1, "end", ("end_to_end",))
    ann = annotator(project, "ann")
    begun(admin, metrics=["recognition", "transcript", "voice", "overall"], order="given")
    asked = {}
    for _ in range(2):
        item = ann.item("first")
        asked[rated_of(item)] = [each["metric"] for each in item["metrics"]]
        answers = {name: {"answer": 3} for name in asked[rated_of(item)] if name != "transcript"}
        if "transcript" in asked[rated_of(item)]:
            answers["transcript"] = {"answer": "Talk zero said."}
        ann.hand_in(item, answers=answers)
    assert asked == {"talk-0": ["recognition", "transcript", "voice", "overall"], "whole-0": ["overall"]}
    found = {row.metric.name: row for row in Score.objects.filter(target_id__startswith="talk")}
    assert {name: row.target_id for name, row in found.items()} == {
        "recognition": "talk-0.stt", "transcript": "talk-0.stt", "voice": "talk-0.tts", "overall": "talk-0",
    }  # fmt: skip
    # «talk 0 said» where «talk zero said» was: one word of three.
    corrected = found["transcript"]
    assert corrected.value == pytest.approx(1 / 3)
    assert (corrected.detail["errors"], corrected.detail["total"], corrected.detail["made"]) == (1, 3, "talk 0 said")


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ({}, "overall has to be answered; where it does not apply, say so"),
        ({"overall": {"answer": 6}}, "overall takes a whole number of 0 to 5, not 6"),
        ({"overall": {"answer": -1}}, "overall takes a whole number of 0 to 5, not -1"),
        ({"overall": {"answer": None}}, "overall takes a whole number of 0 to 5, not None"),
        ({"overall": {"outcome": "failed"}}, "overall: the outcome 'failed' is none"),
        ({"overall": {"answer": 4, "comment": 7}}, "overall: a comment is a text"),
        ({"overall": {"answer": 4}, "voice": {"answer": 4}}, "'voice' is not asked of this item; it asks overall"),
    ],
)
def test_what_no_scale_has_is_refused_by_the_server_and_nothing_of_it_is_kept(
    admin: Api, project: Project, answers: Any, line: str
) -> None:
    conversation(project, "talk", 1)
    ann = annotator(project, "ann")
    begun(admin)
    item = ann.item("first")
    path = f"/annotation/items/{item['assignment']}/hand-in"
    assert ann.api.error("POST", path, {"answers": answers}, status=422).startswith(line)
    assert not Score.objects.exists()
    assert ann.item("first")["assignment"] == item["assignment"]


def test_not_applicable_is_an_answer_and_no_zero(admin: Api, project: Project) -> None:
    conversation(project, "talk", 1)
    ann = annotator(project, "ann")
    begun(admin)
    answers = {"overall": {"outcome": "not_applicable", "comment": "nobody spoke"}}
    ann.hand_in(ann.item("first"), answers=answers, seconds=12.5, heard=0.9, look_again="is that a person?")
    row = Score.objects.get()
    assert (row.outcome, row.value, row.reason) == (Outcome.NOT_APPLICABLE, None, "nobody spoke")
    assert (row.detail["seconds"], row.detail["heard"]) == (12.5, 0.9)
    assert admin("GET", "/campaigns/first")["look_again"] == 1


def test_passes_are_asked_one_after_the_other(admin: Api, project: Project) -> None:
    conversation(project, "talk", 3)
    ann = annotator(project, "ann")
    later = "metric: afterwards\nquestion: And now?\nscale: stars\npass: 2\n"
    admin("PUT", "/metrics/afterwards", {"yaml": later}, 201)
    begun(admin, metrics=["overall", "afterwards"])
    asked = []
    while (item := ann.next("first")["item"]) is not None:
        asked.append([each["metric"] for each in item["metrics"]])
        ann.hand_in(item)
    assert asked == [["overall"]] * 3 + [["afterwards"]] * 3


def test_training_comes_first_and_says_what_was_expected(admin: Api, project: Project) -> None:
    conversation(project, "talk", 4)
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    training = [{"turn": "talk-3", "expect": {"overall": 5}, "why": "it is to the point"}]
    begun(admin, training=training)
    for each in (ann, bob):
        item = each.item("first")
        assert (rated_of(item), item["training"]) == ("talk-3", True)
        assert each.hand_in(item)["wrong"] == [{"metric": "overall", "expected": 5, "why": "it is to the point"}]
    assert not ann.item("first")["training"]
    assert admin("GET", "/campaigns/first")["items"] == 3


def test_gold_and_trapping_items_come_to_everybody_and_look_like_any_other(admin: Api, project: Project) -> None:
    conversation(project, "talk", 20)
    people = [annotator(project, name) for name in ("ann", "bob")]
    begun(
        admin, gold=[{"turn": "talk-3", "expect": {"overall": 5}}], traps=[{"turn": "talk-7", "expect": {"overall": 1}}]
    )  # fmt: skip
    items = {each.user.username: [] for each in people}
    while any(found := [(each, each.next("first")["item"]) for each in people]) and any(item for _, item in found):
        for each, item in found:
            if item is not None:
                assert "expected" not in item
                assert not item["training"]
                each.hand_in(item)
                items[each.user.username].append(rated_of(item))
    for done in items.values():
        assert {"talk-3", "talk-7"} <= set(done)
        assert done[0] not in ("talk-3", "talk-7")
    plain = [key for done in items.values() for key in done if key not in ("talk-3", "talk-7")]
    assert len(plain) == len(set(plain)) == 18


def test_hidden_repeats_are_scores_of_their_own(admin: Api, project: Project) -> None:
    conversation(project, "talk", 20)
    ann = annotator(project, "ann")
    begun(admin, repeats=0.2)
    done = ann.all_of("first")
    again = {key for key in done if done.count(key) > 1}
    assert (len(done), len(again)) == (24, 4)
    for key in again:
        first, second = (place for place, each in enumerate(done) if each == key)
        assert second - first >= 5
        assert {row.occasion.partition("#")[2] for row in Score.objects.filter(target_id=key)} == {"", "2"}


def test_a_group_is_rated_as_a_whole_for_each_pipeline(admin: Api, project: Project) -> None:
    tag = Tag.objects.create(project=project, name="debate", ordered=True)
    turns = [*conversation(project, "one", 2, "a"), *conversation(project, "two", 2, "b")]
    for place, turn in enumerate(turns):
        Tagged.objects.create(project=project, tag=tag, turn=turn, place=place)
    ann = annotator(project, "ann")
    made = begun(admin, of="group", metrics=["multi_turn"], **{"from": {"tags": ["debate"]}})
    assert made["items"] == 2
    assert sorted(ann.all_of("first")) == ["one-0 one-1", "two-0 two-1"]
    assert {row.target_id for row in Score.objects.all()} == {f"{tag.pk}:hash-of-a", f"{tag.pk}:hash-of-b"}


def test_a_pair_is_shown_in_an_order_that_is_drawn_and_on_record(admin: Api, project: Project) -> None:
    conversation(project, "one", 12, "a")
    conversation(project, "two", 12, "b")
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    begun(admin, of="pair", metrics=["preference"], per_item=2)
    shown = []
    for each in (ann, bob):
        while (item := each.next("first")["item"]) is not None:
            assert [turn["pipeline"] for turn in item["turns"]] == ["", ""]
            each.hand_in(item, answers={"preference": {"answer": 1}})
            shown.append(rated_of(item))
    # «The first is better»: the score's own order says which one that was.
    assert sorted(shown) == sorted(Score.objects.values_list("target_id", flat=True))
    firsts = [key.startswith("one") for key in shown]
    assert 4 < sum(firsts) < 20


def test_a_session_is_rated_as_a_whole(admin: Api, project: Project) -> None:
    conversation(project, "talk", 3)
    conversation(project, "other", 1)
    ann = annotator(project, "ann")
    begun(admin, of="session", metrics=["task_success"])
    while (item := ann.next("first")["item"]) is not None:
        ann.hand_in(item, answers={"task_success": {"answer": True}})
    assert sorted(Score.objects.values_list("target_id", "label")) == [("other", "yes"), ("talk", "yes")]


def test_an_item_that_was_erased_meanwhile_is_told(admin: Api, project: Project) -> None:
    conversation(project, "talk", 1)
    ann = annotator(project, "ann")
    begun(admin)
    item = ann.item("first")
    assert not item["gone"]
    Turn.objects.all().delete()
    gone = ann.item("first")
    assert (gone["gone"], gone["turns"]) == (True, [])
    ann.api("POST", f"/annotation/items/{item['assignment']}/skip", {"reason": "it is gone"})


# ---- who may what ----------------------------------------------------------------------------------------------


def test_annotators_see_what_they_were_given_and_nothing_else(admin: Api, stranger: Api, project: Project) -> None:
    conversation(project, "talk", 3)
    ann, bob = annotator(project, "ann"), annotator(project, "bob")
    begun(admin, per_item=2, annotators=["ann", "bob"])
    item = ann.item("first")
    path = f"/annotation/items/{item['assignment']}"
    assert ann.api("GET", path)["assignment"] == item["assignment"]
    for who in (bob.api, admin, stranger):
        who.error("GET", path, status=404)
        who.error("POST", f"{path}/hand-in", {"answers": {}}, status=404)
        who.error("POST", f"{path}/skip", {"reason": "x"}, status=404)
    for closed in ("/campaigns", "/campaigns/first", f"/turns/{rated_of(item)}", "/sessions/talk"):
        ann.api.error("GET", closed, status=403)
    # Neither who else is asked nor which pipeline it was.
    assert not {"bob", "local", "hash-of-local"} & set(json.dumps(item).replace('"', " ").split())
    told = ann.api("GET", "/annotation/campaigns")["campaigns"]
    assert [(each["campaign"], each["done"]) for each in told] == [("first", 0)]
    eve = annotator(project, "eve")
    assert eve.api("GET", "/annotation/campaigns")["campaigns"] == []
    assert "there is no campaign" in eve.api.error("POST", "/annotation/campaigns/first/next", {}, status=404)
    nobody = api_for(project, Scope.ANNOTATOR)
    assert "there is no campaign" in nobody.error("POST", "/annotation/campaigns/first/next", {}, status=404)


def test_what_was_handed_in_can_be_looked_at_again(admin: Api, project: Project) -> None:
    conversation(project, "talk", 1)
    ann = annotator(project, "ann")
    begun(admin)
    done = ann.hand_in(ann.item("first"), answers={"overall": {"answer": 2, "comment": "meh"}})
    seen = ann.api("GET", f"/annotation/items/{done['assignment']}")
    assert seen["answers"] == {"overall": {"answer": 2, "outcome": "scored", "comment": "meh"}}
    assert CampaignItem.objects.count() == 1
