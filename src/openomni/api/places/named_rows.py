"""Rows that a project knows by a name of their own, a slug or a code: found, made and changed the same way, whichever
they are."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.db import transaction

from ..ground.caller import AuthedRequest, limited_to
from ..ground.errors import Refusal, conflict, not_found
from ..ground.scoping import ProjectOwned, ProjectQuerySet
from .models import Site

Row = TypeVar("Row", bound=ProjectOwned)


def find(request: AuthedRequest, model: type[Row], key: str, name: str) -> Row:
    rows = _owned(model).scoped(request)
    row = rows.filter(**{key: name}).first()
    if row is None:
        not_found(model.__name__.lower(), name, rows.values_list(key, flat=True))
    return row


def create(request: AuthedRequest, model: type[Row], key: str, values: dict[str, Any]) -> Row:
    name = values[key]
    with transaction.atomic():
        row, made = _owned(model).get_or_create(
            project_id=request.auth.project_id, **{key: name}, defaults={k: v for k, v in values.items() if k != key}
        )
        if made:
            _check_own(request, row)
    if not made:
        conflict(f"there is a {model.__name__.lower()} {name!r} already; change it with PATCH, or choose another {key}")
    return row


def change(request: AuthedRequest, row: Row, values: dict[str, Any]) -> Row:
    for field, value in values.items():
        setattr(row, field, value)
    with transaction.atomic():
        row.save(update_fields=list(values))
        _check_own(request, row)
    return row


def _check_own(request: AuthedRequest, row: Row) -> None:
    """Nobody who is limited to a place makes or moves anything beyond it. Raises `Refusal`, to undo it."""
    if not _owned(type(row)).scoped(request).filter(pk=row.pk).exists():
        what = type(row).__name__.lower()
        raise Refusal(403, f"this token is limited to {limited_to(request.auth)}, and the {what} would not be of it")


def with_site(request: AuthedRequest, values: dict[str, Any]) -> dict[str, Any]:
    """The values with the site itself in place of its slug; an empty slug is the caller's own site, or none."""
    if "site" in values:
        slug = values["site"] or request.auth.site
        values["site"] = find(request, Site, "slug", slug) if slug else None
    return values


def _owned(model: type[Row]) -> ProjectQuerySet[Row]:
    return cast(ProjectQuerySet[Row], model._default_manager.all())
