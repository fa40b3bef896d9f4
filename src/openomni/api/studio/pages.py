"""The pages of pipelines: all of them, one with its versions, and the editor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...pipeline import spec as pipeline_spec
from ..accounts.models import Role
from ..fleet import components
from ..fleet.placing import Need, Placing
from ..ground.errors import Refusal
from ..look.project_page import here, page
from ..pipelines import catalogue, storing
from ..pipelines.catalogue import Found
from ..pipelines.models import Pipeline, PipelineVersion
from . import checking, figures, flow, history, reference
from .checking import Checked, Problem, check_text
from .figures import Figures

VERSIONS = 100
"""Of a pipeline, the newest, that its page lists."""
STARTER = """\
# What follows a # is a comment. Components and their parameters are listed beside the editor.
name: my-pipeline
description: What it is for, in a line.
stages:
  - stt: faster-whisper
  - llm: llama-cpp
    instructions: You are a helpful assistant. Answer in one short sentence.
  - tts: piper
turn_taking:
  vad: silero
"""


@dataclass(frozen=True, slots=True)
class ShownPipeline:
    """A pipeline on a page. `flow` is None, and `fault` says why, when this version can't read what an older one
    stored; `problems`: why it can't run now."""

    found: Found
    flow: flow.PipelineFlow | None
    problems: list[str]
    figures: Figures
    fault: str = ""


def says_what_is_missing(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A name that no pipeline has gets a page with the nearest one."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        try:
            return view(request, *args, **options)
        except Refusal as refusal:
            context = {"reason": str(refusal), "section": "pipelines"}
            return render(request, "studio/missing.html", context, status=refusal.status_code)

    return shown


@page(None)
@require_safe
def pipelines(request: HttpRequest) -> HttpResponse:
    """Every pipeline of the project, drawn."""
    project = here(request).project
    placing, known, done = Placing.now(project), components.schemas(project), figures.of_pipelines(project)
    rows = [_shown(found, placing, known, done.get(found.name)) for found in catalogue.everything(project)]
    return render(request, "studio/pipelines.html", {"rows": rows, **_common(request)})


@page(None)
@require_safe
@says_what_is_missing
def pipeline(request: HttpRequest, name: str) -> HttpResponse:
    """One pipeline: drawing, text, versions; `?from=1&to=2` shows what differs between these."""
    project = here(request).project
    found = catalogue.find(project, name)
    placing, known, done = Placing.now(project), components.schemas(project), figures.of_versions(project, name)
    rows = PipelineVersion.objects.filter(project_id=project, pipeline__name=name).select_related("created_by")
    versions = list(rows.order_by("-number")[:VERSIONS])
    total = Figures(
        sum(each.sessions for each in done.values()), [value for each in done.values() for value in each.voice_to_voice]
    )
    context = {
        "shown": _shown(found, placing, known, total),
        "text": history.text_of(found),
        "versions": [(version, done.get(version.hash, Figures())) for version in versions],
        "comparison": _comparison(request, versions, found),
        **_common(request),
    }
    return render(request, "studio/pipeline.html", context)


@page(Role.RESEARCHER)
@require_http_methods(["GET", "POST"])
@says_what_is_missing
def edit(request: HttpRequest, name: str) -> HttpResponse:
    """The editor; `?version=1` begins with that older version."""
    found = catalogue.find(here(request).project, name)
    if found.version is None:
        messages.info(request, f"{name} comes with OpenOmni and stays as it is; here is a copy to change.")
        return redirect(f"{reverse('new-pipeline')}?{urlencode({'from': name})}")
    if request.method == "POST":
        return _save(request, name)
    return _editor(request, name, _beginning(request, found), storing.seal(found.version, found.text))


@page(Role.RESEARCHER)
@require_http_methods(["GET", "POST"])
@says_what_is_missing
def new(request: HttpRequest) -> HttpResponse:
    """The editor for another pipeline; `?from=NAME` (and `&version=1`) begins with a copy."""
    if request.method == "POST":
        return _save(request, "")
    project, source = here(request).project, request.GET.get("from", "")
    if not source:
        return _editor(request, "", STARTER, "")
    text = _beginning(request, catalogue.find(project, source))
    taken = {found.name for found in catalogue.everything(project)}
    names = (f"{source[:60]}-copy{number if number > 1 else ''}" for number in range(1, len(taken) + 2))
    return _editor(request, "", checking.renamed(text, next(name for name in names if name not in taken)), "")


@page(Role.RESEARCHER)
@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """What is wrong with a text, for the editor while one types: lines, words, and its drawing."""
    project = here(request).project
    known, placing = components.schemas(project), Placing.now(project)
    checked = _checked(_text(request), request.POST.get("name", ""), known)
    drawing = ""
    if checked.pipeline is not None:
        picture = flow.draw(checked.pipeline, placing, known)
        drawing = render_to_string("studio/_flow.html", {"flow": picture}, request)
    return JsonResponse(
        {
            "problems": [{"line": problem.line, "text": problem.text} for problem in checked.problems],
            **_verdict(project, checked, placing, known),
            "flow": drawing,
        }
    )


def _save(request: HttpRequest, name: str) -> HttpResponse:
    """Stores what was typed, or shows it again with what is wrong."""
    project, text, seen = here(request).project, _text(request), request.POST.get("seen", "") if name else ""
    checked = _checked(text, name, components.schemas(project))
    if checked.pipeline is None or (checked.problems and ("unchecked" not in request.POST or _misnamed(checked, name))):
        return _editor(request, name, text, seen, checked, status=422)
    before = Pipeline.objects.filter(project_id=project, name=checked.pipeline.name).select_related("current").first()
    current = before.current if before else None
    try:
        stored = storing.store(project, checked.pipeline, text, here(request).user.pk, seen)
    except storing.Changed as changed:
        if not name:
            text_ = f"there is a pipeline {checked.pipeline.name!r} already; give this one another name"
            checked.problems.insert(0, Problem(text_, checking.line_of_name(text)))
            return _editor(request, name, text, seen, checked, status=409)
        assert current is not None
        theirs = {
            "theirs": current,
            "reason": str(changed),
            "pieces": history.difference(history.text_of(current), text),
        }
        return _editor(
            request, name, text, storing.seal(current.number, current.text), checked, status=409, conflict=theirs
        )
    except Refusal as refusal:
        checked.problems.insert(0, Problem(str(refusal), checking.line_of_name(text)))
        return _editor(request, name, text, seen, checked, status=refusal.status_code)
    messages.success(request, _what_happened(stored, current, text))
    address = reverse("pipeline", args=[checked.pipeline.name])
    return redirect(f"{address}?saved=1")


def _what_happened(stored: storing.StoredPipeline, before: PipelineVersion | None, text: str) -> str:
    number = stored.version.number
    if stored.made:
        return f"Saved as version {number}."
    if stored.brought_back:
        return f"This is the content of version {number}, which is the current one again."
    if before is not None and before.text == text:
        return f"Nothing was changed: this is version {number} as it was."
    return f"Same content as version {number}, so there is no new version; your comments and layout are kept."


def _checked(text: str, name: str, known: dict[Need, Any]) -> Checked:
    """`name`: that of the pipeline that is edited, which stays; empty for a new one."""
    checked = check_text(text, known)
    if _misnamed(checked, name):
        assert checked.pipeline is not None
        problem = f"it calls itself {checked.pipeline.name!r}; leave the name {name!r} here, or duplicate the pipeline"
        checked.problems.insert(0, Problem(problem, checking.line_of_name(text)))
    return checked


def _misnamed(checked: Checked, name: str) -> bool:
    return bool(name) and checked.pipeline is not None and checked.pipeline.name != name


def _verdict(project: str, checked: Checked, placing: Placing, known: dict[Need, Any]) -> dict[str, str]:
    """One line on the whole, for the editor's status, and its `tone`: good, warn or bad."""
    if checked.problems or checked.pipeline is None:
        count = len(checked.problems)
        return {"says": f"{count} thing{'s' if count != 1 else ''} to mend", "tone": "bad"}
    unplaced = placing.unplaced(checked.pipeline, known)
    tone, says = "good", "Right, and it can run now."
    if unplaced:
        more = f" (and {len(unplaced) - 1} more)" if len(unplaced) > 1 else ""
        tone, says = "warn", f"The file is right, but it can't run now: {unplaced[0]}{more}"
    same = PipelineVersion.objects.filter(
        project_id=project, pipeline__name=checked.pipeline.name, hash=checked.pipeline.hash
    ).first()
    return {"says": f"{says} The content is that of version {same.number}." if same else says, "tone": tone}


def _editor(
    request: HttpRequest,
    name: str,
    text: str,
    seen: str,
    checked: Checked | None = None,
    status: int = 200,
    conflict: dict[str, Any] | None = None,
) -> HttpResponse:
    project = here(request).project
    placing, known = Placing.now(project), components.schemas(project)
    checked = checked or _checked(text, name, known)
    context = {
        "name": name,
        "text": text,
        "seen": seen,
        "checked": checked,
        "refused": status != 200 and not conflict,
        "conflict": conflict,
        "may_insist": status == 422 and checked.pipeline is not None and not _misnamed(checked, name),
        **_verdict(project, checked, placing, known),
        "flow": flow.draw(checked.pipeline, placing, known) if checked.pipeline else None,
        "groups": reference.components(project, placing),
        "stage_keys": reference.keys(pipeline_spec.Framework, reference.STAGE_KEYS),
        "turn_keys": reference.keys(pipeline_spec.TurnTaking, reference.TURN_TAKING),
        **_common(request),
    }
    return render(request, "studio/edit.html", context, status=status)


def _shown(found: Found, placing: Placing, known: dict[Need, Any], done: Figures | None) -> ShownPipeline:
    try:
        pipeline = found.pipeline
    except pipeline_spec.PipelineError as error:
        return ShownPipeline(found, None, [], done or Figures(), str(error))
    problems = pipeline_spec.check(pipeline, known) + placing.unplaced(pipeline, known)
    return ShownPipeline(found, flow.draw(pipeline, placing, known), problems, done or Figures())


def _comparison(request: HttpRequest, versions: list[PipelineVersion], found: Found) -> dict[str, Any] | None:
    """What differs between the two versions that are asked for; the newest two stand ready to be compared."""
    if len(versions) < 2:
        return None
    by_number = {str(version.number): version for version in versions}
    newer = by_number.get(request.GET.get("to", ""), by_number.get(str(found.version), versions[0]))
    others = [version for version in versions if version.pk != newer.pk]
    before = next((version for version in others if version.number < newer.number), others[0])
    older = by_number.get(request.GET.get("from", ""), before)
    asked = "from" in request.GET
    pieces = history.difference(history.text_of(older), history.text_of(newer)) if asked else []
    return {"asked": asked, "older": older, "newer": newer, "pieces": pieces}


def _beginning(request: HttpRequest, found: Found) -> str:
    """The text that the editor begins with: the current one, or that of `?version=`."""
    which = request.GET.get("version", "")
    if which.isascii() and which.isdigit() and len(which) < 9:
        rows = PipelineVersion.objects.filter(project_id=here(request).project, pipeline__name=found.name)
        if version := rows.filter(number=int(which)).first():
            return history.text_of(version)
    return history.text_of(found)


def _text(request: HttpRequest) -> str:
    """What was typed; a browser sends its lines with \\r\\n."""
    text = request.POST.get("text", "").replace("\r\n", "\n")
    return text if text.endswith("\n") or not text else f"{text}\n"


def _common(request: HttpRequest) -> dict[str, Any]:
    return {"section": "pipelines", "may_edit": here(request).may(Role.RESEARCHER)}
