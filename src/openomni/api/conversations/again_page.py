"""The page that runs one turn again: from a stage of one's choice, with an output corrected by hand, or by another
pipeline."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from ... import bounds
from ...errors import WrongUsage
from ...pipeline.again import stage_of
from ...records import TurnRecord
from ..accounts.authentication import of_person
from ..accounts.models import Role
from ..ground.errors import Refusal
from ..look.project_page import here, page
from ..pipelines import catalogue
from ..queue import reruns
from ..records import snapshots
from ..records.models import Turn

CORRECTED = {"stt": "What was said", "llm": "What is to be answered", "speaker": "Who speaks"}
"""Kinds whose output is a text that somebody may write, and what it is to them."""

_NAMED = {"speaker": "label"}


@dataclass(frozen=True, slots=True)
class CorrectedStage:
    """A stage that ran, and what it gave; `text` is what stands in its field."""

    kind: str
    component: str
    label: str
    gave: str
    text: str


@never_cache
@require_http_methods(["GET", "POST"])
@page(Role.RESEARCHER)
def again(request: HttpRequest, session_id: str, turn_id: str) -> HttpResponse:
    where = here(request)
    rows = Turn.objects.of_user(where.user).filter(project_id=where.project, session=session_id, pk=turn_id)
    turn = rows.prefetch_related(*snapshots.COMPLETE_TURN).first()
    if turn is None:
        raise Http404(f"there is no turn {turn_id!r} in this session")
    record = snapshots.turn_record(turn)
    if request.method == "POST":
        stages = _stages(record, request.POST)
        given = {each.kind: each.text for each in stages if each.text != each.gave}
        pipeline, begin = request.POST.get("pipeline", ""), request.POST.get("from", "")
        try:
            made = reruns.queue(
                of_person(where.user, where.project, where.role), [turn.pk], [pipeline] if pipeline else [], begin,
                given, uuid.uuid4().hex, wait=False,
            )  # fmt: skip
        except (Refusal, WrongUsage) as refused:
            context = _context(turn, record, stages, pipeline, begin) | {"refused": str(refused)}
            return render(request, "conversations/again.html", context, status=422)
        return redirect(f"{reverse('conversation', args=[made[0].session_id])}?project={where.project}")
    return render(request, "conversations/again.html", _context(turn, record, _stages(record, {}), "", ""))


def _lines(text: str) -> str:
    """Browsers send line ends of their own: what nobody touched is to be as it was."""
    return text.replace("\r\n", "\n").strip("\n")


def _stages(record: TurnRecord, written: Mapping[str, str]) -> list[CorrectedStage]:
    found = []
    for kind, label in CORRECTED.items():
        stage = stage_of(record, kind)
        if stage is None:
            continue
        gave = _lines(record.transcript if kind == "stt" else str(stage.output.get(_NAMED.get(kind, "text"), "")))
        text = _lines(written.get(f"with-{kind}", gave))[: bounds.MAX_TEXT]
        found.append(CorrectedStage(kind, stage.component, label, gave, text))
    return found


def _context(turn: Turn, record: TurnRecord, stages: list[CorrectedStage], pipeline: str, begin: str) -> dict[str, Any]:
    return {
        "section": "conversations",
        "turn": turn,
        "stages": stages,
        "kinds": list(dict.fromkeys(stage.kind for stage in record.stages)),
        "pipelines": [found.name for found in catalogue.everything(turn.project_id)],
        "pipeline": pipeline,
        "begin": begin,
    }
