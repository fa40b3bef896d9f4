"""Many annotators of one server, as rows; the people themselves are HTTP clients, see `test_crowd`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def fill(people: int, items: int) -> list[str]:
    """A campaign over so many turns, each by two of so many people; their tokens."""
    from django.utils import timezone

    from openomni.api.accounts.models import Membership, Project, Role, Scope, Token, User
    from openomni.api.annotation import beginning, spec
    from openomni.api.ground.caller import Caller
    from openomni.api.records.models import Session, Turn

    project = Project.objects.get(slug="default")
    session = Session.objects.create(project=project, id="talk", pipeline="local", pipeline_hash="h")
    Turn.objects.bulk_create(
        Turn(project=project, session=session, id=f"talk-{index}", index=index, pipeline="local", pipeline_hash="h",
             status="completed", transcript="said", reply_text="replied", started_at=timezone.now())
        for index in range(items)
    )  # fmt: skip
    users = User.objects.bulk_create(User(username=f"person-{number}", password="!") for number in range(people))
    Membership.objects.bulk_create(Membership(user=user, project=project, role=Role.ANNOTATOR) for user in users)
    stated = {"campaign": "crowd", "from": {"sessions": ["talk"]}, "metrics": ["overall"], "per_item": 2, "lease": 1}
    stated["annotators"] = [user.username for user in users]
    beginning.begin(Caller("default", frozenset({"admin"})), spec.parsed(stated))
    return [Token.issue(project, [Scope.ANNOTATOR], created_by=user)[1] for user in users]


def expire() -> int:
    """Who does nothing any more has been away for longer than the lease: as if a minute had passed."""
    from datetime import timedelta

    from django.utils import timezone

    from openomni.api.annotation.models import Assignment

    rows = Assignment.objects.filter(status="leased", ended_at=None)
    return rows.update(leased_until=timezone.now() - timedelta(seconds=1))


def state() -> dict[str, object]:
    """What became of it."""
    from collections import Counter

    from openomni.api.annotation.models import Assignment
    from openomni.api.scores.models import Score

    places = Assignment.objects.filter(number__isnull=False)
    by_item = Counter(places.filter(status="done").values_list("item", flat=True))
    scores = list(Score.objects.values_list("target_id", "rater"))
    return {
        "by_item": sorted(set(by_item.values())), "items": len(by_item), "scores": len(scores),
        "distinct": len(set(scores)), "open": places.exclude(status="done").count(),
    }  # fmt: skip


if __name__ == "__main__":
    from openomni.api.bootstrap import setup

    setup(Path(sys.argv[1]))
    print(json.dumps(globals()[sys.argv[2]](*map(int, sys.argv[3:]))))
