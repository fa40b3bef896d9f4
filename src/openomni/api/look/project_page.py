"""Who looks at a page, and at which project.

A page of a project is a view under `@page(Role.VIEWER)`: whoever isn't signed in is sent there first, whoever has no
such role in any project is told so. Inside it, `here(request)` says whose data is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from ..accounts.models import Project, Role, User
from ..accounts.roles import includes, roles_in

REMEMBERED = "openomni_project"
"""Where a person's session keeps the project that was looked at last."""

PAGES = (
    ("home", "Start"),
    ("talk", "Talk"),
    ("conversations", "Conversations"),
    ("pipelines", "Pipelines"),
    ("datasets", "Datasets"),
    ("experiments", "Experiments"),
    ("annotate", "Annotate"),
    ("agents", "Agents"),
    ("latency-report", "Reports"),
    ("admin:index", "Data"),
)
"""What the navigation leads to: the name of a route, and its text. A view below one of them sets `section` to that
name in its context."""
OF_CONVERSATIONS = ("talk", "conversations", "datasets", "experiments", "latency-report", "admin:index")
"""Those of them that are nothing for an annotator."""
OF_ANNOTATION = ("annotate",)
"""Those that are nothing for a viewer."""

View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Here:
    """The person, the project that is shown, their role in it, and all projects that they may choose: slug → name."""

    user: User
    project: str
    role: Role
    projects: dict[str, str]

    @property
    def project_name(self) -> str:
        return self.projects[self.project]

    def may(self, role: Role) -> bool:
        """Whether they may what that role may here."""
        return includes(self.role, role)


def page(role: Role | None = Role.VIEWER) -> Callable[[View], View]:
    """A page for people who may what that role may in the project that they look at; None: for all of its people."""

    def decorated(view: View) -> View:
        @wraps(view)
        def shown(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
            roles = roles_in(request)
            if not roles:
                return render(request, "look/no_project.html", status=403)
            where = here(request)
            if role is not None and not where.may(role):
                raise PermissionDenied(f"this page needs the role {role} in the project, and your role is {where.role}")
            return view(request, *args, **options)

        return login_required(shown)

    return decorated


def here(request: HttpRequest) -> Here:
    """Whose data is shown: `?project=`, else the project that was looked at last, else the first. What is chosen is
    remembered. Only for somebody signed in, with a project."""
    if not hasattr(request, "_openomni_here"):
        request._openomni_here = _here(request)  # type: ignore[attr-defined]
    return request._openomni_here  # type: ignore[attr-defined, no-any-return]


def _here(request: HttpRequest) -> Here:
    assert isinstance(request.user, User)
    roles = roles_in(request)
    names = dict(Project.objects.filter(slug__in=roles).order_by("name").values_list("slug", "name"))
    wanted = request.GET.get("project", "")
    if wanted in roles:
        request.session[REMEMBERED] = wanted
    project = next(each for each in (wanted, request.session.get(REMEMBERED), *names) if each in roles)
    return Here(request.user, project, Role(roles[project]), names)


def context(request: HttpRequest) -> dict[str, Any]:
    """For every template: `here`, where somebody with a project is signed in, and the `pages` to go to, each as name
    of its route, address and text."""
    signed_in = isinstance(getattr(request, "user", None), User)
    shown = here(request) if signed_in and roles_in(request) else None
    pages = [(name, reverse(name), text) for name, text in pages_for(shown)] if shown else []
    return {"here": shown, "pages": pages}


def pages_for(shown: Here) -> list[tuple[str, str]]:
    """What the navigation leads this person to."""
    closed = {
        *(() if shown.may(Role.VIEWER) else OF_CONVERSATIONS), *(() if shown.may(Role.ANNOTATOR) else OF_ANNOTATION)
    }  # fmt: skip
    return [each for each in PAGES if each[0] not in closed]
