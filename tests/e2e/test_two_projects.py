"""Two projects on one server: with the other's ids and each other's tokens, neither finds what is the other's."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed

from e2e import staging
from e2e.conftest import Installation, installation
from e2e.staging import EVERYTHING, QUESTION
from openomni import __version__
from openomni.bus import subjects
from openomni.bus.connection import Bus, SubjectDenied, connect
from openomni.bus.credentials import Credentials, Keys
from openomni.client.connection import Link

pytestmark = pytest.mark.long

SITE = "lab"
"""The slug of a site in both projects."""
RESPONDER = {"role": "responder", "audio": "binary"}
HELLO = {"role": "listener", "audio": "binary", "source": "test", "recording_id": "r"}


@dataclass
class Tenant:
    """One project with an agent, a device and a turn of its own, and what may be known of it to nobody else."""

    made: Installation
    project: str
    token: str
    turn: dict[str, Any] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> httpx.Response:
        return self.made.request("GET", f"/api/v1{path}", token=self.token)

    def send(self, method: str, path: str, **body: Any) -> httpx.Response:
        return self.made.request(method, f"/api/v1{path}", token=self.token, json=body)

    @property
    def agent(self) -> str:
        return f"agent-{self.project}"

    @property
    def pipeline(self) -> str:
        return f"pipeline-{self.project}"

    @property
    def secrets(self) -> set[str]:
        """Names and ids that stand in no answer to a stranger."""
        return {self.agent, self.pipeline, f"device-{self.project}", *self.ids.values()}


def settle(made: Installation, project: str, token: str) -> Tenant:
    """Sites, a device, a pipeline; then one turn, whose agent runs already."""
    tenant = Tenant(made, project, token)
    spec = staging.pipeline(tenant.pipeline)
    for method, path, body in (
        ("POST", "/sites", {"slug": SITE, "name": f"site of {project}"}),
        ("POST", "/devices", {"slug": f"device-{project}", "name": f"device of {project}", "site": SITE}),
        ("PUT", f"/pipelines/{tenant.pipeline}", {"spec": spec}),
    ):
        assert tenant.send(method, path, **body).is_success
    out = made.folder / f"{project}.json"
    options = ["--pipeline", tenant.pipeline, "--wait", "--json", str(out), "--spool", str(made.folder / project)]
    done = made.run("listen", "--source", f"file:{QUESTION}", *options, OPENOMNI_TOKEN=token)
    assert done.returncode == 0, done.stderr + made.logs()
    (said,) = json.loads(out.read_text())["turns"]
    tenant.turn = staging.until(
        lambda: next(iter(tenant.get("/turns?status=completed").json()["items"]), None), "the turn is not recorded"
    )
    assert {stage["agent"] for stage in tenant.turn["stages"]} == {tenant.agent}
    (agent,) = tenant.get("/agents").json()["items"]
    tenant.ids = {
        "agent": agent["id"], "turn": said["turn_id"], "session": said["session_id"],
        "recording": tenant.turn["recording"], "reply": tenant.turn["reply_audio"],
        "task": tenant.turn["stages"][0]["task_id"],
    }  # fmt: skip
    assert all(tenant.ids.values())
    for which in ("recording", "reply"):
        path = f"/recordings/{tenant.ids[which]}/content"
        staging.until(lambda path=path: tenant.get(path).is_success, f"{which} is not stored")
    return tenant


def operate(made: Installation, *arguments: str) -> str:
    done = made.run("api", "--data-dir", str(made.folder / "data"), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tenant, Tenant]]:
    with installation(tmp_path_factory.mktemp("tenants"), "--no-agent") as made:
        operate(made, "project", "create", "other")
        token = operate(made, "token", "create", "--project", "other", "--scope", "admin")
        made.agent("agent-default", EVERYTHING)
        made.agent("agent-other", EVERYTHING, OPENOMNI_TOKEN=token)
        yield settle(made, "default", made.token), settle(made, "other", token)


@pytest.fixture(params=["default looks at other", "other looks at default"])
def looking(request: pytest.FixtureRequest, tenants: tuple[Tenant, Tenant]) -> tuple[Tenant, Tenant]:
    """(stranger, owner)."""
    return tenants if request.param.startswith("default") else (tenants[1], tenants[0])


LISTS = (
    "/agents", "/components", "/sites", "/devices", "/participants", "/sessions", "/turns", "/tasks", "/tasks/dead",
    "/recordings", "/pipelines", "/projects", "/tokens",
)  # fmt: skip


def test_rest_lists_only_what_is_ones_own(looking: tuple[Tenant, Tenant]) -> None:
    stranger, owner = looking
    shown = {path: stranger.get(path) for path in LISTS}
    assert {answer.status_code for answer in shown.values()} == {200}, shown
    for path, answer in shown.items():
        for secret in owner.secrets:
            assert secret not in answer.text, f"{path} shows {secret}"
    assert stranger.ids["turn"] in shown["/turns"].text
    assert stranger.ids["agent"] in shown["/agents"].text


def test_rest_finds_and_changes_nothing_by_id(looking: tuple[Tenant, Tenant]) -> None:
    stranger, owner = looking
    ids = owner.ids
    for path in (
        f"/agents/{ids['agent']}", f"/turns/{ids['turn']}", f"/sessions/{ids['session']}",
        f"/recordings/{ids['recording']}", f"/recordings/{ids['recording']}/content",
        f"/recordings/{ids['reply']}/content", f"/devices/device-{owner.project}", f"/pipelines/{owner.pipeline}",
        f"/pipelines/{owner.pipeline}/resolve",
    ):  # fmt: skip
        assert stranger.get(path).status_code == 404, path
        assert owner.get(path).status_code == 200, path
    before = owner.get(f"/recordings/{ids['recording']}").json()
    for method, path, body in (
        ("PUT", f"/recordings/{ids['recording']}", {"kind": "audio", "media_type": "audio/wav"}),
        ("POST", f"/recordings/{ids['recording']}/complete", {"sha256": "0" * 64, "size": 0}),
        ("POST", "/turns/queue", {"recording_id": ids["recording"], "pipeline": stranger.pipeline}),
        ("POST", "/sessions", {"session_id": ids["session"], "pipeline": stranger.pipeline}),
        ("POST", f"/agents/{ids['agent']}/credentials", {"public_key": Keys.create().public}),
        ("POST", f"/agents/{ids['agent']}/drain", {}),
    ):
        assert stranger.send(method, path, **body).status_code in (404, 409), path
    assert owner.get(f"/recordings/{ids['recording']}").json() == before
    assert owner.get(f"/agents/{ids['agent']}").json()["draining"] is False


async def talk(stranger: Tenant, pipeline: str, session_id: str) -> str:
    """What a live door says to this hello, until it closes or welcomes."""
    path = f"/v1/realtime?model={pipeline}"
    hello = {**HELLO, "type": "openomni.hello", "version": __version__, "session_id": session_id}
    said = ""
    async with open_socket(
        stranger.made.url.replace("http", "ws", 1) + path,
        additional_headers={"Authorization": f"Bearer {stranger.token}", "OpenOmni-Version": __version__},
    ) as socket:
        with suppress(ConnectionClosed):  # a door that shuts before our hello has said why, too
            await socket.send(json.dumps(hello))
        with suppress(ConnectionClosed):
            while "openomni.welcome" not in said:
                said += str(await socket.recv())
    return said


async def test_the_live_doors_know_only_ones_own(looking: tuple[Tenant, Tenant]) -> None:
    stranger, owner = looking
    assert "unknown_pipeline" in await talk(stranger, owner.pipeline, uuid.uuid4().hex)
    heard: list[Any] = []
    async with (
        Link(owner.made.url, owner.token, f"/v1/realtime?model={owner.pipeline}", HELLO) as live,
        Link(stranger.made.url, stranger.token, f"/v1/respond?site={SITE}", RESPONDER) as ear,
    ):
        for session_id in (live.session_id, owner.ids["session"]):
            assert "session_taken" in await talk(stranger, stranger.pipeline, session_id)
        listening = asyncio.create_task(ear.run(heard.append))
        await answered(owner)
        await ear.close()
        await listening
    assert heard == []


async def answered(owner: Tenant) -> None:
    """One turn at the site, which a responder of the project hears."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with Link(owner.made.url, owner.token, f"/v1/respond?site={SITE}", RESPONDER) as ear:
        listening = asyncio.create_task(ear.run(heard.put_nowait))
        path = f"/v1/realtime?site={SITE}&model={owner.pipeline}"
        async with Link(owner.made.url, owner.token, path, HELLO) as live:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
            await live.send({"type": "conversation.item.create", "item": item})
            await live.send({"type": "response.create"})
            async with asyncio.timeout(30):
                while (event := await heard.get()) is None or "openomni.reply.ended" not in str(event):
                    continue
        await ear.close()
        await listening


MODELS = (
    "records/session", "records/turn", "records/recording", "fleet/agent", "places/device",
    "pipelines/pipeline",
)  # fmt: skip


def test_pages_show_a_member_only_the_projects_that_are_theirs(looking: tuple[Tenant, Tenant]) -> None:
    stranger, owner = looking
    name = f"member-of-{stranger.project}"
    link = operate(stranger.made, "user", "create", name, "--project", stranger.project)
    with httpx.Client(base_url=stranger.made.url, follow_redirects=True, timeout=30) as browser:
        assert browser.get(link).is_success
        for model in MODELS:
            page = browser.get(f"/admin/{model}/")
            assert page.status_code == 200, model
            for secret in owner.secrets:
                assert secret not in page.text, f"{model} shows {secret}"
        assert stranger.ids["turn"][:12] in browser.get("/admin/records/turn/").text
        for model, key in (("records/turn", "turn"), ("records/recording", "recording"), ("fleet/agent", "agent")):
            mine, others = (
                browser.get(f"/admin/{model}/{tenant.ids[key]}/change/", follow_redirects=False) for tenant in looking
            )
            assert (mine.status_code, others.status_code) == (200, 302), model
        mine, others = (browser.get(f"/api/v1/recordings/{tenant.ids['reply']}/content") for tenant in looking)
        assert (mine.status_code, others.status_code) == (200, 404)


async def aboard(tenant: Tenant) -> tuple[str, Bus]:
    """An agent of the project, on the bus with the credentials that the API gave to it."""
    keys = Keys.create()
    answer = tenant.send("POST", "/agents", name=f"probe-{uuid.uuid4().hex}", public_key=keys.public).json()

    async def renew() -> Credentials:
        access = answer["bus"]
        return Credentials(access["jwt"], access["expires_at"], access["inbox_prefix"])

    return answer["agent_id"], await connect(answer["bus"]["urls"], renew, keys, "probe", timeout=10)


async def test_the_bus_lets_an_agent_neither_hear_nor_speak_in_another_project(looking: tuple[Tenant, Tenant]) -> None:
    stranger, owner = looking
    project, agent_id = owner.project, owner.ids["agent"]
    _, bus = await aboard(stranger)
    try:
        for subject in (
            subjects.fleet(project), subjects.record(project), subjects.work(project), subjects.dead(project),
            *(subjects.live(project, subjects.ANY, subjects.ANY, way) for way in ("out", "in")),
            subjects.agent(project, agent_id), subjects.call_input(project, subjects.ANY), "oo.>", ">", "_INBOX.>",
        ):  # fmt: skip
            with pytest.raises(SubjectDenied):
                async with asyncio.timeout(5):
                    await anext(await bus.subscribe(subject))
        for subject in (
            subjects.record(project), subjects.work(project), subjects.dead(project),
            subjects.call(project, agent_id), subjects.session(project, agent_id), subjects.drain(project, agent_id),
            subjects.here(project, agent_id), subjects.live(project, SITE, owner.ids["session"], "in"),
            subjects.live(project, SITE, owner.ids["session"], "out"),
            f"$JS.API.CONSUMER.MSG.NEXT.WORK.{subjects.work_consumer(project)}",
            f"$JS.API.CONSUMER.MSG.NEXT.RECORDS.{subjects.WRITER}", "$JS.API.STREAM.MSG.GET.RECORDS",
        ):  # fmt: skip
            with pytest.raises(SubjectDenied):
                await bus.request(subject, b"{}", timeout=5)
    finally:
        await bus.close()
