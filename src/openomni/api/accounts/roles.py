"""What a person may do in which project: for pages and the admin."""

from __future__ import annotations

from django.http import HttpRequest

from .models import Membership, Project, Role, User

_INCLUDED = {
    Role.OWNER: frozenset(Role),
    Role.RESEARCHER: frozenset(Role) - {Role.OWNER},
    Role.ANNOTATOR: frozenset({Role.ANNOTATOR}),
    Role.VIEWER: frozenset({Role.VIEWER}),
}


def includes(held: str, role: str) -> bool:
    """Whether who is `held` may what a `role` may."""
    return Role(role) in _INCLUDED[Role(held)]


def roles_of(user: User) -> dict[str, str]:
    """Project → role, for each project that this person may enter; a superuser owns every one."""
    if user.is_superuser:
        return dict.fromkeys(Project.objects.values_list("slug", flat=True), "owner")
    return dict(Membership.objects.filter(user=user).order_by("project_id").values_list("project_id", "role"))


def roles_in(request: HttpRequest) -> dict[str, str]:
    """Project → role of whoever is signed in; read once a request."""
    if not hasattr(request, "_openomni_roles"):
        user = request.user
        request._openomni_roles = roles_of(user) if isinstance(user, User) else {}  # type: ignore[attr-defined]
    return request._openomni_roles  # type: ignore[attr-defined, no-any-return]


def may(request: HttpRequest, role: str, project: str | None) -> bool:
    """Whether the person may what a `role` may in this project; with None, in any."""
    roles = roles_in(request)
    held = roles.values() if project is None else [roles[project]] if project in roles else []
    return any(includes(each, role) for each in held)
