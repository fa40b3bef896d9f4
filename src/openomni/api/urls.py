from __future__ import annotations

from django.contrib import admin
from django.urls import path

from ..version import __version__
from .accounts import pages
from .accounts.authentication import allow
from .accounts.models import Scope
from .annotation import pages as annotation
from .conversations import again_page
from .conversations import pages as conversations
from .datasets import pages as datasets
from .experiments import comparison_pages
from .experiments import pages as experiments
from .fleet import pages as fleet
from .ground import errors
from .ground.document import ABOUT, Interface
from .ground.intake import Json
from .look import pages as look
from .reports import pages as reports
from .start import pages as start
from .studio import pages as studio
from .talk import pages as talk

admin.autodiscover()
admin.site.index_title = "Data"
api = Interface(
    title="OpenOmni",
    version=__version__,
    description="Sessions, turns, recordings, agents and pipelines of a project.\n" + ABOUT,
    parser=Json(),
    auth=allow(Scope.ADMIN),  # an endpoint that names no scope of its own is for admins
)
errors.install(api)
# Each app's router has its full paths, so that what an app serves can be read in one place.
# `queue` comes before `records`: /turns/queue is no turn.
for app in ("accounts", "tokens", "places", "people", "fleet", "studio", "queue", "records", "conversations", "media",
            "datasets", "reports", "scores", "experiments", "annotation"):  # fmt: skip
    api.add_router("", f"openomni.api.{app}.rest.router")
api.add_router("", "openomni.api.experiments.scores_rest.router")
api.add_router("", "openomni.api.experiments.comparison_rest.router")
api.add_router("", "openomni.api.experiments.import_rest.router")

urlpatterns = [
    path("api/v1/", api.urls),
    path("sign-in/<str:text>/", pages.sign_in, name="sign-in"),
    path("password/", pages.choose_password, name="choose-password"),
    path("talk/", talk.talk, name="talk"),
    path("talk/pipelines/", talk.pipelines, name="talk-pipelines"),
    path("talk/token/", talk.token, name="talk-token"),
    path("talk/timeline/", talk.timeline, name="talk-timeline"),
    path("pipelines/", studio.pipelines, name="pipelines"),
    path("pipelines/new/", studio.new, name="new-pipeline"),
    path("pipelines/check/", studio.check, name="check-pipeline"),
    path("pipelines/<str:name>/", studio.pipeline, name="pipeline"),
    path("pipelines/<str:name>/edit/", studio.edit, name="edit-pipeline"),
    path("conversations/", conversations.conversations, name="conversations"),
    path("conversations/<str:session_id>/", conversations.conversation, name="conversation"),
    path("conversations/<str:session_id>/<str:turn_id>/timeline/", conversations.timeline, name="timeline"),
    path("datasets/", datasets.datasets, name="datasets"),
    path("datasets/<str:name>/", datasets.dataset, name="dataset"),
    path("experiments/<str:name>/comparison/", comparison_pages.comparison, name="experiment-comparison"),
    path("experiments/<str:name>/samples/<path:sample_id>/", comparison_pages.sample, name="experiment-sample"),
    path("conversations/<str:session_id>/<str:turn_id>/again/", again_page.again, name="turn-again"),
    path("experiments/", experiments.experiments, name="experiments"),
    path("experiments/<str:name>/", experiments.experiment, name="experiment"),
    path("experiments/<str:name>/cancel/", experiments.cancel, name="cancel-experiment"),
    path("annotate/", annotation.annotate, name="annotate"),
    path("annotate/<str:name>/", annotation.workspace, name="workspace"),
    path("campaigns/<str:name>/", annotation.campaign, name="campaign"),
    path("agents/", fleet.agents, name="agents"),
    path("agents/<str:agent_id>/", fleet.agent, name="agent"),
    path("agents/<str:agent_id>/drain/", fleet.drain, name="drain"),
    path("reports/latency/", reports.latency, name="latency-report"),
    path("admin/", admin.site.urls),
    path("look/", look.parts, name="look"),
    path("health/", start.health, name="health"),
    path("", start.home, name="home"),
]
