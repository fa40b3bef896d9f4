"""The pages that let a person in: the one-time sign-in link, and choosing a password after it."""

from __future__ import annotations

from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from . import throttle
from .models import SignInLink, User

LINKS = 20
"""Sign-in links that don't work, from one address, before the next has to wait."""


@never_cache
@require_safe
def sign_in(request: HttpRequest, text: str) -> HttpResponse:
    """Signs in with a one-time link; asks for a password where there is none yet."""
    # A HEAD is a preview of the link somewhere; it must not use it up.
    if request.method != "GET":
        return render(request, "accounts/sign_in_failed.html", status=410)
    tried = f"link from {throttle.address_of(request)}"
    try:
        throttle.take({tried: LINKS})
    except throttle.TooMany as wait:
        headers = {"Retry-After": str(wait.seconds)}
        page = render_to_string("accounts/wait.html", {"wait": wait.wait}, request)
        return HttpResponse(page, status=429, headers=headers)
    user = SignInLink.redeem(text)
    if user is None:
        return render(request, "accounts/sign_in_failed.html", status=410)
    throttle.give_back(tried)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("home" if user.has_usable_password() else "choose-password")


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def choose_password(request: HttpRequest) -> HttpResponse:
    """The first password of somebody who came by a sign-in link. To change one, the admin asks for the old one."""
    user = request.user
    if not isinstance(user, User) or user.has_usable_password():
        return redirect("admin:password_change")
    form: SetPasswordForm[User] = SetPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, user)
        return redirect("home")
    return render(request, "accounts/choose_password.html", {"form": form})
