"""What the tests of annotation share: turns to annotate, people who do, and campaigns over them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from api.support import Api, api_for, person
from openomni.api.accounts.models import Project, Role, Scope, User
from openomni.api.records.models import Session, Task, Turn
from openomni.api.scores.models import Score

STAGES = ("stt", "llm", "tts")


def conversation(project: Project, name: str, turns: int, pipeline: str = "local", stages: Any = STAGES) -> list[Turn]:
    """A session with so many completed turns, each with its stages: what was said is `NAME-NUMBER said`."""
    session = Session.objects.create(project=project, id=name, pipeline=pipeline, pipeline_hash=f"hash-of-{pipeline}")
    made = []
    for index in range(turns):
        turn = Turn.objects.create(
            project=project, session=session, id=f"{name}-{index}", index=index, pipeline=pipeline,
            pipeline_hash=f"hash-of-{pipeline}", status="completed", transcript=f"{name} {index} said",
            reply_text=f"{name} {index} replied", utterance_hash=f"utterance-{index}",
        )  # fmt: skip
        for place, kind in enumerate(stages):
            Task.objects.create(
                project=project, turn=turn, task_id=f"{turn.pk}.{kind}", kind=kind, component="x", place=place,
                status="completed",
            )  # fmt: skip
        made.append(turn)
    return made


@dataclass
class Annotator:
    """Somebody who is asked, over REST."""

    user: User
    api: Api

    def next(self, campaign: str) -> Any:
        return self.api("POST", f"/annotation/campaigns/{campaign}/next", {})

    def item(self, campaign: str) -> Any:
        found = self.next(campaign)["item"]
        assert found is not None, "there is nothing left"
        return found

    def hand_in(self, item: Any, expect: int = 200, **more: Any) -> Any:
        answers = more.pop("answers", None) or {each["metric"]: {"answer": 4} for each in item["metrics"]
                                                if each["required"]}  # fmt: skip
        path = f"/annotation/items/{item['assignment']}/hand-in"
        return self.api("POST", path, {"answers": answers, **more}, expect)

    def all_of(self, campaign: str, **more: Any) -> list[str]:
        """Hands in all that there is; the ids of what was rated."""
        done = []
        while (item := self.next(campaign)["item"]) is not None:
            self.hand_in(item, **more)
            done.append(rated_of(item))
        return done


def rated_of(item: Any) -> str:
    """The turns that an item is about."""
    return " ".join(each["turn"] for each in item["turns"] if each["rated"])


def annotator(project: Project, name: str) -> Annotator:
    user = person(name, Role.ANNOTATOR, project)
    return Annotator(user, api_for(project, Scope.ANNOTATOR, created_by=user))


def begun(api: Api, *, expect: int = 201, **fields: Any) -> Any:
    """A campaign over all turns, under `overall`; JSON is YAML, too."""
    content = {"campaign": "first", "from": {"since": "2000-01-01"}, "metrics": ["overall"], "per_item": 1, **fields}
    return api("POST", "/campaigns", {"yaml": json.dumps(content)}, expect)


def standing_values(metric: str = "overall") -> dict[str, list[float | None]]:
    """By target, the values of all revisions of all raters, oldest first."""
    found: dict[str, list[float | None]] = {}
    for row in Score.objects.filter(metric__name=metric).order_by("pk"):
        found.setdefault(row.target_id, []).append(row.value)
    return found
