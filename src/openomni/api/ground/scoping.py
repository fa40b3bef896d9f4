"""Whose data it is: the one place where rows are kept to the project of whoever asks.

Every model below a project derives from `ProjectOwned`; REST reads through `Model.objects.scoped(request)` and the
admin through `Model.objects.of_user(user)`. Nothing else filters by project.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Self, TypeVar

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest

from .caller import Caller

Owned = TypeVar("Owned", bound=models.Model, covariant=True)


class ProjectQuerySet(models.QuerySet[Owned]):
    """Rows that know whose they are."""

    def scoped(self, request: HttpRequest) -> Self:
        """The rows of the project that the caller of a REST endpoint acts in; see `Caller`. A token that is
        limited to a site or a device sees what is of these, a device's without a place what was made with it."""
        return self.of_caller(request.auth)  # type: ignore[attr-defined]

    def of_caller(self, caller: Caller) -> Self:
        """As `scoped`, where there is a caller and no request."""
        rows = self.filter(project_id=caller.project_id)
        for limit, slug in caller.limits.items():
            if paths := getattr(self.model, "limits", {}).get(limit, ()):
                rows = rows.filter(reduce(or_, (models.Q(**{path: slug}) for path in paths)))
        return rows

    def of_user(self, user: AbstractUser | AnonymousUser) -> Self:
        """The rows of all projects that a signed-in person belongs to; a superuser sees every project."""
        if user.is_superuser:
            return self
        return self.filter(project__membership__user_id=user.pk)


class ProjectOwned(models.Model):
    """A row of one project. `limits` says by which fields it is of a site, of a device or of who made it (`maker`, the
    id of a token), any of them; a model without any is for the whole project, such as its pipelines and agents."""

    limits: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    project = models.ForeignKey("accounts.Project", on_delete=models.CASCADE)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        abstract = True

    def is_elsewhere(self, caller: Caller) -> bool:
        """Whether it is another's than those that the caller is limited to: of another site, device or maker. What it
        says itself counts before what it belongs to. A row of no place yet is not: whoever fills it in first says where
        it is. Its maker is known from the beginning, if ever."""
        for limit, slug in caller.limits.items():
            named = filter(None, (_at(self, path) for path in self.limits.get(limit, ())))
            if next(named, "" if limit == "maker" else slug) != slug:
                return True
        return False

    def clean(self) -> None:
        """What a row points at is of its own project."""
        super().clean()
        if not self.project_id:
            return  # a row of an inline form; it gets its parent's project when that is saved
        for field in self._meta.concrete_fields:
            target = getattr(self, field.name) if isinstance(field, models.ForeignKey) else None
            if isinstance(target, ProjectOwned) and target.project_id != self.project_id:
                raise ValidationError(f"the {field.verbose_name} is of another project")


def _at(row: models.Model, path: str) -> str:
    value: Any = row
    for name in path.split("__"):
        value = getattr(value, name) if value is not None else None
    return value or ""
