from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView
from ninja import NinjaAPI

from .. import __version__
from . import errors
from .accounts import pages
from .accounts.models import Scope
from .auth import allow

admin.autodiscover()
api = NinjaAPI(
    title="OpenOmni",
    version=__version__,
    description="Sessions, turns, recordings, agents and pipelines of a project. Send `Authorization: Bearer oo_…`.",
    auth=allow(Scope.ADMIN),  # an endpoint that names no scope of its own is for admins
)
errors.install(api)
# Each app's router has its full paths, so that what an app serves can be read in one place.
for app in ("accounts", "places", "fleet", "pipelines", "conversations", "media"):
    api.add_router("", f"openomni.api.{app}.rest.router")

urlpatterns = [
    path("api/v1/", api.urls),
    path("sign-in/<str:text>/", pages.sign_in, name="sign-in"),
    path("password/", pages.choose_password, name="choose-password"),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
]
