"""The page of the latency report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from pydantic import ValidationError

from ...errors import OpenOmniError
from ..ground.caller import Caller
from ..ground.errors import Refusal
from ..ground.faults import fault_line
from ..look.project_page import here, page
from ..pipelines import catalogue
from . import latency as report
from .pictures import chart, outcome_bar
from .query import SelectionQuery
from .selection import INCLUDED, OF_TURNS

Row = Mapping[str, Any]

SINCE = {"": "Ever", "1d": "The last day", "7d": "The last 7 days", "30d": "The last 30 days"}
LISTED = 400
"""Rows that the page shows; more are in the files that the command writes."""
DRAWN = 24
"""Boxes of a chart."""
OF_PAGE = ("pipeline", "experiment", "session", "participant", "origin", "late_after")


@never_cache
@require_safe
@page()
def latency(request: HttpRequest) -> HttpResponse:
    """The report of what the form asks for; without anything, of all turns of the project."""
    where, asked = here(request), request.GET
    context: dict[str, Any] = {
        "asked": asked,
        "pipelines": sorted(
            {found.name for found in catalogue.everything(where.project)} | {asked.get("pipeline", "")}
        ),
        "periods": SINCE,
        "further": OF_TURNS,
        "includable": INCLUDED,
        "included": asked.getlist("include"),
        "by": asked.get("by", ""),
        "chosen": any(asked.get(name) for name in (*OF_PAGE, "since", "include", "by")),
        "command": _command(request),
    }
    status = 200
    try:
        wanted = _wanted(request)
        found = report.report(Caller(where.project, frozenset(), user_id=where.user.pk), wanted.selection())
        context |= _shown(found, wanted.by)
    except ValidationError as error:
        status, context["fault"] = 422, fault_line(error.errors()[0])
    except Refusal as refusal:
        status, context["fault"] = refusal.status_code, str(refusal)
    except OpenOmniError as missing:
        status, context["fault"] = 503, str(missing)
    return render(request, "reports/latency.html", context, status=status)


def _wanted(request: HttpRequest) -> SelectionQuery:
    asked = request.GET
    given: dict[str, Any] = {name: asked[name] for name in OF_PAGE if asked.get(name)}
    if days := asked.get("since", "").removesuffix("d"):
        since = timezone.now() - timedelta(days=int(days)) if f"{days}d" in SINCE else None
        given["since"] = since.isoformat(timespec="seconds") if since else days
    given |= {"include": asked.getlist("include"), "by": list(filter(None, asked.getlist("by")))}
    return SelectionQuery.model_validate(given)


def _shown(found: dict[str, Any], by: list[Any]) -> dict[str, Any]:
    rows = found["rows"]

    def drawn(title: str, about: str, figure: str, live: bool | None = None) -> Any:
        chosen = [row for row in rows if row["figure"] == figure and live in (None, row["live"])]
        chosen.sort(key=_label)  # the same stage of several pipelines side by side
        return chart(title, about, ((_label(row), _detail(row, by), row) for row in chosen[:DRAWN]))

    charts = (
        drawn("Voice to voice", "From the person's last sound to the reply's first, where it was heard.",
              "voice_to_voice_s"),
        drawn("Queued turns", "From when an agent took the turn to the last sound of its reply.", "turn_s", live=False),
        drawn("Inside the models", "Of each stage, what its component took.", "model_s"),
    )  # fmt: skip
    told = [row for row in rows if row["min"] or row["max"]]
    shown = told[:LISTED]
    return {
        "turns": found["turns"],
        "parts": outcome_bar(found["turns"]),
        "left_out": [(name.replace("_", "-"), count) for name, count in found["left_out"].items() if count],
        "charts": [each for each in charts if each],
        "groups": [(name, list(of_group)) for name, of_group in groupby(shown, lambda row: _group(row, by))],
        "silent": len(rows) - len(told),
        "more": len(told) - len(shown),
    }


def _group(row: Row, by: list[Any]) -> str:
    way = "live" if row["live"] else "queued"
    further = [f"{name} {row[name] or '–'}" for name in by if name in OF_TURNS]
    return " · ".join([f"{row['pipeline'] or 'no pipeline'} {row['pipeline_hash'][:12]}".rstrip(), way, *further])


def _label(row: Row) -> str:
    if row["component"] is None:
        return str(row["pipeline"] or "no pipeline")
    return f"{row['kind']}: {row['component']}"


def _detail(row: Row, by: list[Any]) -> str:
    of_stage = (row["pipeline"], row["model"], row["agent"]) if row["component"] else (row["pipeline_hash"][:12],)
    further = [row[name] for name in by if name in OF_TURNS]
    return " · ".join(filter(None, (*of_stage, "" if row["live"] else "queued", *further)))


def _command(request: HttpRequest) -> str:
    """What writes the same report into files."""
    return " ".join(["openomni", "report", "latency", *_options(request), "--csv latency.csv"])


def _options(request: HttpRequest) -> Iterator[str]:
    for name in (*OF_PAGE, "since", "by"):
        if value := request.GET.get(name):
            quoted = shlex.quote(value)
            yield f"--{name.replace('_', '-')} {quoted}"
    if included := request.GET.getlist("include"):
        yield f"--include {shlex.quote(','.join(included))}"
