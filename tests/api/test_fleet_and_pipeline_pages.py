"""The pages of agents and pipelines without a browser: who may see and do what, and what lies under the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.bus import connecting, line  # noqa: F401 (fixtures)
from api.support import Api, agent_with, api_for, person
from openomni.api.accounts.models import Project, Scope, Token
from openomni.api.fleet import overview
from openomni.api.fleet.models import Agent
from openomni.api.fleet.parameters import parameters
from openomni.api.fleet.placing import Placing
from openomni.api.pipelines import storing
from openomni.api.pipelines.models import Pipeline, PipelineVersion
from openomni.api.studio import flow, history, reference
from openomni.bus import subjects
from openomni.pipeline import spec

YAML = "name: {name}\n# kept\nstages:\n  - stt: simulated\n  - llm: simulated\n    text: {text}\n  - tts: simulated\n"


def yaml(name: str = "mine", text: str = "yes please") -> str:
    return YAML.format(name=name, text=text)


def put(project: Project, text: str) -> PipelineVersion:
    return storing.store(project.pk, spec.parse(text), text).version


def signed_in(role: str, project: Project) -> Client:
    client = Client()
    client.force_login(person(f"a-{role}-of-{project.pk}", role, project))
    return client


@pytest.fixture
def researcher(project: Project) -> Client:
    return signed_in("researcher", project)


@pytest.fixture
def viewer(project: Project) -> Client:
    return signed_in("viewer", project)


# ---- who may what --------------------------------------------------------------------------------------------


def test_a_viewer_looks_and_changes_nothing(project: Project, viewer: Client) -> None:
    agent, _ = agent_with(project, "stt:simulated"), put(project, yaml())
    for path in ("/agents/", f"/agents/{agent.pk}/", "/pipelines/", "/pipelines/mine/"):
        page = viewer.get(path).content.decode()
        assert not any(word in page for word in ("Drain…", "/edit/", "/pipelines/new/", "Bring back")), path
    for path in ("/pipelines/mine/edit/", "/pipelines/new/", "/pipelines/check/", f"/agents/{agent.pk}/drain/"):
        assert viewer.get(path).status_code == 403, path
        assert viewer.post(path, {"text": yaml(text="changed")}).status_code == 403, path
    assert PipelineVersion.objects.count() == 1
    agent.refresh_from_db()
    assert not agent.draining


def test_whoever_is_not_signed_in_is_sent_there_and_back(project: Project) -> None:
    for path in ("/agents/", "/pipelines/", "/pipelines/local/edit/"):
        answer = Client().get(path)
        assert answer.status_code == 302
        assert answer["Location"] == f"/admin/login/?next={path}"


def test_what_is_another_projects_does_not_exist_here(project: Project, other_project: Project) -> None:
    agent, _ = agent_with(other_project, "stt:zebra", name="zebra"), put(other_project, yaml("zebra"))
    client = signed_in("owner", project)
    for path in (
        f"/agents/{agent.pk}/",
        f"/agents/{agent.pk}/drain/",
        "/pipelines/zebra/",
        "/pipelines/zebra/edit/",
        "/pipelines/new/?from=zebra",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert b"did you mean" not in answer.content
    for path in ("/agents/", "/pipelines/", "/pipelines/new/"):
        assert b"zebra" not in client.get(path).content, path


def test_what_is_saved_goes_into_the_project_that_the_editor_was_opened_in(
    project: Project, other_project: Project
) -> None:
    """Somebody looks at another project in another tab meanwhile."""
    client = Client()
    user = person("both", "owner", project)
    user.membership_set.create(project=other_project, role="owner")
    client.force_login(user)
    page = client.get("/pipelines/new/?project=home").content.decode()
    client.get("/pipelines/?project=ward")
    action = page.partition('action="/pipelines/')[2].partition('"')[0]
    assert client.post(f"/pipelines/{action}", {"text": yaml()}).status_code == 302
    assert PipelineVersion.objects.get().project_id == "home"


@pytest.mark.parametrize("path", ["/agents/", "/pipelines/"])
def test_a_page_costs_as_many_queries_for_many_rows_as_for_one(path: str, project: Project, viewer: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert viewer.get(path).status_code == 200
        return len(captured)

    def fill(numbers: range) -> None:
        for number in numbers:
            agent_with(project, "stt:simulated", f"llm:own-{number}", roles=["host"])
            put(project, yaml(f"p{number}"))

    fill(range(1))
    queries()
    few = queries()
    fill(range(1, 12))
    assert queries() == few


def test_what_agents_and_people_wrote_is_escaped(project: Project, researcher: Client) -> None:
    bad = "<script>alert(1)</script>"
    agent = agent_with(project, f"llm:{bad}", name=bad, health=bad, machine={"host": bad}, roles=[bad])
    agent.offers.update(description=bad, schema={"properties": {bad: {"description": bad, "default": bad}}})
    put(project, f"name: mine\ndescription: {bad}\nstages:\n  - llm: simulated\n    text: {bad}\n  - stt: simulated\n")
    for path in ("/agents/", f"/agents/{agent.pk}/", "/pipelines/", "/pipelines/mine/", "/pipelines/mine/edit/"):
        page = researcher.get(path).content.decode()
        assert bad not in page, path
        assert "&lt;script&gt;alert" in page, path
    answer = researcher.post("/pipelines/check/", {"text": yaml(text=bad)}).json()
    assert bad not in answer["flow"]


# ---- agents --------------------------------------------------------------------------------------------------


def test_an_agent_is_starting_until_it_is_heard_and_gone_when_it_is_not(project: Project) -> None:
    now = timezone.now()
    long_ago = now - timedelta(hours=2)
    agent_with(project, name="starting", registered_at=now - timedelta(minutes=1), last_seen=now - timedelta(minutes=1))
    agent_with(project, name="never", registered_at=long_ago, last_seen=long_ago)
    agent_with(project, name="here", registered_at=long_ago)
    agent_with(project, name="leaving", registered_at=long_ago, draining=True)
    agent_with(project, name="left", registered_at=long_ago, last_seen=now - timedelta(minutes=1), draining=True)
    cards = overview.cards(project.pk, Agent.objects.prefetch_related("offers"))
    assert [(card.agent.name, card.state) for card in cards] == [
        ("here", "alive"), ("starting", "starting"), ("leaving", "draining"), ("left", "gone"), ("never", "gone"),
    ]  # fmt: skip


def test_the_refreshed_part_is_the_part_alone(project: Project, viewer: Client) -> None:
    agent = agent_with(project, "stt:simulated", name="box-1")
    for path in ("/agents/", f"/agents/{agent.pk}/"):
        part = viewer.get(path, {"part": ""}).content.decode()
        assert "<html" not in part
        assert part.strip() in viewer.get(path).content.decode()


@pytest.mark.django_db(transaction=True)
def test_draining_asks_the_agent_itself(line: Callable[..., Any], project: Project, researcher: Client) -> None:  # noqa: F811
    agent = agent_with(project, name="box-1")
    asked = []

    async def serve(bus: Any) -> Any:
        async def on_drain(message: Any) -> None:
            asked.append(message.subject)
            await bus.respond(message, b"draining")

        return await bus.subscribe(subjects.drain(project.pk, agent.pk), on_drain)

    line(serve)
    assert "The bus is away" not in researcher.get("/agents/").content.decode()
    page = researcher.post(f"/agents/{agent.pk}/drain/", follow=True).content.decode()
    assert "box-1 drains" in page
    assert asked == [subjects.drain(project.pk, agent.pk)]
    other = agent_with(project, name="box-2")
    page = researcher.post(f"/agents/{other.pk}/drain/", follow=True).content.decode()
    assert "box-2 was not drained: box-2 does not answer" in page


def test_parameters_are_read_from_any_schema() -> None:
    schema = {
        "properties": {
            "model": {"type": "string", "default": "tiny"},
            "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "speed": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None},
            "fail": {"enum": ["", "hang"]},
            "broken": "no rule",
        },
        "required": ["sizes"],
    }
    rows = {row.name: (row.takes, row.default, row.required) for row in parameters(schema)}
    assert rows == {
        "model": ("text", '"tiny"', False),
        "sizes": ("list of whole number ≥\u00a01", "", True),
        "speed": ("number >\u00a00 or null", "null", False),
        "fail": ('"" or "hang"', "", False),
    }
    assert parameters({"properties": ["model"]}) == parameters({}) == []


# ---- pipelines -----------------------------------------------------------------------------------------------


def test_a_check_gives_the_line_of_each_mistake(project: Project, researcher: Client) -> None:
    text = "name: mine\nstages:\n  - stt: simulatd\n  - llm: simulated\n    txt: a\n  - tts: simulated\n"
    answer = researcher.post("/pipelines/check/", {"text": text.replace("\n", "\r\n")}).json()
    assert [problem["line"] for problem in answer["problems"]] == [3, 5]
    assert answer["problems"][1]["text"] == "stage 2 (llm): unknown parameter 'txt'; did you mean 'text'?"
    assert answer["says"] == "2 things to mend"
    assert 'class="flow' in answer["flow"]
    broken = researcher.post("/pipelines/check/", {"text": "name: mine\nstages: [\n"}).json()
    assert (len(broken["problems"]), broken["problems"][0]["line"], broken["flow"]) == (1, 2, "")
    renamed = researcher.post("/pipelines/check/", {"text": "# a\n" + yaml("other"), "name": "mine"}).json()
    assert renamed["problems"][0]["line"] == 2
    assert "leave the name 'mine'" in renamed["problems"][0]["text"]


@pytest.mark.parametrize(
    "text", ["[" * 3000, "a: &a [x, *a]", "name: x\nstages: &s [*s]", "\0", "", "- a", "x" * 300_000]
)
def test_a_check_survives_any_text(project: Project, researcher: Client, text: str) -> None:
    answer = researcher.post("/pipelines/check/", {"text": text}).json()
    assert len(answer["problems"]) == 1
    assert researcher.post("/pipelines/new/", {"text": text}).status_code == 422


def test_a_few_lines_that_stand_for_billions_are_refused(project: Project, admin: Api) -> None:
    bomb = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"b{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 10)]
    answer = admin("POST", "/pipelines/check", {"yaml": "name: x\nstages: []\n" + "\n".join(bomb)})
    assert "holds more than 10000 values" in answer["errors"][0]


def test_the_editor_and_rest_store_by_the_same_rule(project: Project, admin: Api, researcher: Client) -> None:
    assert researcher.post("/pipelines/new/", {"text": yaml()}).status_code == 302
    first = PipelineVersion.objects.get()
    assert (first.number, first.text, first.created_by.username) == (1, yaml(), "a-researcher-of-home")
    commented = yaml() + "# a last word\n"
    assert admin("PUT", "/pipelines/mine", {"yaml": commented})["version"] == 1
    assert admin("GET", "/pipelines/mine")["yaml"] == commented
    maker = person("maker", "owner", project)
    token = Token.issue(project, [Scope.RESEARCHER], created_by=maker)[1]
    assert Api(token)("PUT", "/pipelines/mine", {"yaml": yaml(text="never")})["version"] == 2
    assert PipelineVersion.objects.get(number=2).created_by == maker
    page = researcher.post("/pipelines/mine/edit/", {"text": yaml(), "seen": "stale"}).content.decode()
    assert "stored by somebody else meanwhile" in page
    assert PipelineVersion.objects.count() == 2
    seen = storing.seal(2, yaml(text="never"))
    page = researcher.post("/pipelines/mine/edit/", {"text": yaml(), "seen": seen}, follow=True).content.decode()
    assert "the content of version 1, which is the current one again" in page
    assert admin("GET", "/pipelines/mine")["version"] == 1


@pytest.mark.parametrize(("name", "says"), [("local", "is built in"), ("new", "called")])
def test_names_that_can_not_be_had(project: Project, admin: Api, researcher: Client, name: str, says: str) -> None:
    answer = researcher.post("/pipelines/new/", {"text": yaml(name)})
    assert answer.status_code in (400, 409)
    assert says in answer.content.decode()
    assert says in admin.error("PUT", f"/pipelines/{name}", {"yaml": yaml(name)}, status=answer.status_code)
    assert not Pipeline.objects.exists()


def test_a_name_that_is_too_long_is_a_mistake_at_its_line(project: Project, admin: Api, researcher: Client) -> None:
    answer = researcher.post("/pipelines/new/", {"text": yaml("a" * 81)})
    assert answer.status_code == 422
    assert "up to 80" in answer.content.decode()
    assert "up to 80" in admin.error("PUT", f"/pipelines/{'a' * 81}", {"yaml": yaml("a" * 81)}, status=400)
    assert not Pipeline.objects.exists()


def test_a_version_that_can_not_be_read_any_more_is_shown_as_it_is(project: Project, viewer: Client) -> None:
    old = put(project, yaml())
    PipelineVersion.objects.filter(pk=old.pk).update(spec={"name": "mine", "stages": [{"gone": "x"}]})
    for path in ("/pipelines/", "/pipelines/mine/"):
        page = viewer.get(path).content.decode()
        assert "unreadable" in page
        assert "unknown kind &#x27;gone&#x27;" in page


def test_stages_stand_behind_what_they_take_from() -> None:
    text = "name: x\nstages:\n  - stt: a\n  - speaker: b\n  - retrieval: c\n  - llm: d\n    frames: 2\n  - tts: e\n"
    drawn = flow.draw(spec.parse(text), Placing({}, []), [("stt", "a")])
    assert [[box.kind for box in column.boxes] for column in drawn.columns] == [
        ["stt", "speaker"], ["retrieval"], ["llm"], ["tts"],
    ]  # fmt: skip
    assert drawn.columns[2].flows == ["transcript", "documents", "speaker", "frames"]
    assert (drawn.heard, drawn.sees) == (["voice"], True)
    assert [box.known for box in drawn.columns[0].boxes] == [True, False]


def test_a_difference_has_signs_and_numbers() -> None:
    old, new = "a\nb\nc\n", "a\nB\nc\nd\n"
    (piece,) = history.difference(old, new)
    assert [(row.sign, row.old, row.new, row.text) for row in piece] == [
        (" ", 1, 1, "a"), ("−", 2, None, "b"), ("+", None, 2, "B"), (" ", 3, 3, "c"), ("+", None, 4, "d"),
    ]  # fmt: skip
    assert history.difference(old, old) == []


def test_content_without_its_text_is_written_so_that_it_can_be_read() -> None:
    pipeline = spec.parse(yaml())
    assert spec.parse(history.written(pipeline.normalised())).hash == pipeline.hash


def test_each_key_of_the_framework_can_be_looked_up() -> None:
    for struct, about in ((spec.Framework, reference.STAGE_KEYS), (spec.TurnTaking, reference.TURN_TAKING)):
        assert {field.name for field in msgspec.structs.fields(struct)} == set(about)


def test_an_agents_pipeline_is_listed_with_who_brought_it(project: Project, viewer: Client) -> None:
    api_for(project, Scope.ADMIN)("PUT", "/pipelines/mine", {"yaml": yaml()})
    assert "an agent or a device" in viewer.get("/pipelines/mine/").content.decode()
