from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.forms import ModelForm, MultipleChoiceField
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from .models import Membership, Project, Role, Scope, Token, User
from .project_admin import ProjectAdmin, ProjectFilter, TabularInline, display
from .roles import may, roles_in

admin.site.unregister(Group)  # what a person may do is their membership's role


class MembershipInline(TabularInline):  # type: ignore[misc]
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, Role.OWNER, obj.pk if obj else None)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


@admin.register(Project)
class ProjectsAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    inlines = (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        rows: QuerySet[Project] = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.filter(pk__in=roles_in(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> Any:
        return ("slug", "created_at") if obj else ("created_at",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(roles_in(request))

    def has_view_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return may(request, Role.VIEWER, obj.pk if obj else None)

    def has_change_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return may(request, Role.OWNER, obj.pk if obj else None)


@admin.register(User)
class UsersAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    """Accounts are the server's; superusers keep them. Who belongs to a project is kept there, by its owners.

    Owners see the names of those who belong to a project that they own, and find somebody else by their whole name, to
    add them; they see no more of them than that.
    """

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Seen", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return bool(request.user.is_superuser) or (obj is None and may(request, Role.OWNER, None))

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        rows: QuerySet[User] = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        owned = [project for project in roles_in(request) if may(request, Role.OWNER, project)]
        seen = Q(pk__in=Membership.objects.filter(project__in=owned).values("user"))
        if request.path.endswith("/autocomplete/"):
            seen |= Q(username__iexact=request.GET.get("term", "").strip())
        return rows.filter(seen)

    def get_list_display(self, request: HttpRequest) -> Any:
        return super().get_list_display(request) if request.user.is_superuser else ("username",)

    def get_list_filter(self, request: HttpRequest) -> Any:
        return super().get_list_filter(request) if request.user.is_superuser else ()

    def get_search_fields(self, request: HttpRequest) -> Any:
        return super().get_search_fields(request) if request.user.is_superuser else ("username",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # What a query of the list asks for is told by which rows it gives.
        if request is None or not request.user.is_superuser:
            return False
        return super().lookup_allowed(lookup, value, request)


class TokenForm(ModelForm):  # type: ignore[type-arg]
    scopes = MultipleChoiceField(choices=Scope.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget)


@admin.register(Token)
class TokensAdmin(ProjectAdmin):
    view_role = change_role = delete_role = Role.OWNER
    form = TokenForm
    list_display = ("__str__", "id", "project", "scope_list", "site", "state", "expires_at", "last_used_at")
    list_filter = (ProjectFilter, "revoked_at")
    search_fields = ("id", "name", "site", "device")
    list_select_related = ("project",)
    readonly_fields = ("id", "created_by", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    @display(description="scopes")
    def scope_list(self, token: Token) -> str:
        return ", ".join(token.scopes)

    @display(description="state", label={"valid": "success", "expired": "warning", "revoked": "danger"})
    def state(self, token: Token) -> str:
        if token.revoked_at:
            return "revoked"
        return "expired" if token.expires_at and token.expires_at <= timezone.now() else "valid"

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:
        text = ""
        if not change:
            text = obj.renew_secret()
            obj.created_by = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)
        if text:
            messages.warning(request, f"Copy this token now, it is shown this once: {text}")

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[Token]) -> None:
        done = tokens.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"{done} revoked")
