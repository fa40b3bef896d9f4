"""The admin's ground: everyone sees the rows of their own projects, and changes what their role there lets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.contrib import admin
from django.db.models import ForeignKey, ManyToManyField, QuerySet
from django.forms import ModelChoiceField
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display as unfold_display

from ..ground.scoping import ProjectOwned, ProjectQuerySet
from .models import Project, Role, User
from .roles import may, roles_in

__all__ = [
    "ProjectAdmin",
    "ProjectFilter",
    "ProjectInline",
    "ReadOnlyInline",
    "TabularInline",
    "display",
]
Method = TypeVar("Method", bound=Callable[..., Any])


def display(**options: Any) -> Callable[[Method], Method]:
    """unfold's decorator for a column of a list, with a type."""
    return unfold_display(**options)  # type: ignore[no-any-return]


class ProjectFilter(admin.SimpleListFilter):
    """By project, among one's own; not shown to those who have one."""

    title = "project"
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(slug, slug) for slug in roles_in(request)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(project_id=self.value()) if self.value() else queryset


class ProjectAdmin(ModelAdmin):  # type: ignore[misc]
    """Base of the admin of every model that is a project's. Set `change_role` where others than researchers change."""

    view_role: ClassVar[str] = Role.VIEWER
    change_role: ClassVar[str] = Role.RESEARCHER
    delete_role: ClassVar[str] = Role.OWNER
    list_filter: Any = (ProjectFilter,)
    list_per_page = 50
    show_full_result_count = False
    compressed_fields = True
    list_filter_submit = False

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        assert isinstance(rows, ProjectQuerySet)
        return _seen(rows, request, self.view_role)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        choices = _choices(db_field.remote_field.model, request)
        if db_field.name == "project":
            choices = choices.filter(
                pk__in=[each for each in roles_in(request) if may(request, self.change_role, each)]
            )
        kwargs.setdefault("queryset", choices)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[no-any-return]

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", _choices(db_field.remote_field.model, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # A row never moves to another project: what points at it would stay behind.
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "project") if obj is not None else fields

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Rows that are edited below another are of its project."""
        for each in formset.forms:
            if isinstance(each.instance, ProjectOwned):
                each.instance.project_id = form.instance.project_id
        super().save_formset(request, form, formset, change)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request, self.view_role, None)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.view_role, obj and obj.project_id)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.change_role, obj and obj.project_id)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.change_role, obj and obj.project_id)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.delete_role, obj and obj.project_id)


class ProjectInline(TabularInline):  # type: ignore[misc]
    """Rows edited below their parent by whoever may change that; their project is the parent's."""

    change_role: ClassVar[str] = Role.RESEARCHER
    exclude: Any = ("project",)
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # whoever sees the parent

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.change_role, obj and obj.project_id)

    has_add_permission = has_delete_permission = has_change_permission


class ReadOnlyInline(ProjectInline):
    """Rows that are only shown below their parent."""

    can_delete = False
    exclude = ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_delete_permission = has_change_permission


def _seen(rows: ProjectQuerySet[Any], request: HttpRequest, role: str) -> QuerySet[Any]:
    """Those of the projects in which one may what `role` may."""
    assert isinstance(request.user, User)
    own = rows.of_user(request.user)
    if request.user.is_superuser:
        return own
    return own.filter(project_id__in=[each for each in roles_in(request) if may(request, role, each)])


def _choices(model: Any, request: HttpRequest) -> QuerySet[Any]:
    """What one may point at: rows of one's own projects."""
    rows = model._default_manager.all()
    if isinstance(rows, ProjectQuerySet):
        return _seen(rows, request, Role.VIEWER)
    if issubclass(model, Project) and not request.user.is_superuser:
        return rows.filter(pk__in=roles_in(request))  # type: ignore[no-any-return]
    return rows  # type: ignore[no-any-return]
