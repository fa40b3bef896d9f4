"""The OpenAPI document and the API say the same, whatever is sent: by schemathesis, in this process.

No answer is a failure of the server, none has a status, a type or a shape that the document does not name, and nothing
that the document forbids is taken. Whether all that it allows is taken is not asked: a cursor, a pipeline's content and
the name of another row are texts to the document, and right or wrong to the code.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from ninja import Schema

from api.conftest import SERVER_SECRET
from api.filled import DOCUMENT, MARK, endpoints, ids_of
from api.support import api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.ground import bus_line
from openomni.api.media.store import storage
from openomni.api.queue import dead_letters
from openomni.api.records.models import Recording
from openomni.bus.dead import DeadLetter

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.core.parameters import ParameterLocation  # noqa: E402
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # as WSGI has it
CONFORMANCE = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
few = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
EXAMPLES = int(os.environ.get("OPENOMNI_EXAMPLES", "15"))
"""Cases an operation, where long tests run; 60 and more find what 15 don't, and take a few minutes."""
AREAS = sorted({path.split("/")[3] for path in DOCUMENT["paths"]})
LARGE = {
    "agents", "dataset-drafts", "datasets", "experiments", "participants", "recordings", "reports", "sessions", "tags",
    "tasks", "turns",
}  # fmt: skip
"""Areas whose edges take five times as long as those of all the others."""


@pytest.fixture(scope="session")
def schema() -> Any:
    """The document as schemathesis reads it."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.app = WSGIHandler()
    schema.config.phases.coverage.unexpected_methods = {"trace"}
    schema.config.generation.with_security_parameters = False  # who calls is another test's
    # A wrong value must not be refused for another reason only, such as that its row is there already.
    schema.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "405", "413", "422"]
    return schema


@pytest.fixture
def token(filled: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """For all of a project with something of everything: bytes of its recording, and a bus that takes what it is given
    and has one dead letter."""
    recording = Recording.objects.get()
    recording.key = recording.place()
    storage().write(recording.key, 0, bytes(100))
    recording.save()
    letter = DeadLetter(kind="record", key=MARK, reason=MARK, subject=MARK, content=b"{}", sequence=1)

    async def dead(bus: Any, project: str, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        return [letter] if after < letter.sequence else []

    monkeypatch.setattr(dead_letters.dead, "dead", dead)
    monkeypatch.setattr(dead_letters.dead, "write_back", AsyncMock())
    monkeypatch.setattr(bus_line, "run", lambda work, timeout=5.0: asyncio.run(work(AsyncMock())))
    # As Django's own test client has it: the end of a request would close the connection, and undo all.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield api_for(filled, Scope.ADMIN).token
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def send_all(schema: Any, area: str, token: str, mode: HypothesisTestMode, how: settings) -> None:
    """Sends to each operation of an area what schemathesis makes up: for what is there, unless what the path names is
    what is wrong."""

    def send(case: Any) -> None:
        if not case.meta.is_negative_at(ParameterLocation.PATH):
            case.path_parameters |= ids_of(case.path)
        bearer = SERVER_SECRET if case.path.endswith("/introspect") else token
        answer = case.call(headers={"Authorization": f"Bearer {bearer}"})
        case.validate_response(answer, checks=[*CONFORMANCE, negative_data_rejection])

    made = HypothesisTestConfig(project=schema.config, modes=[mode], settings=how)
    for method, path in endpoints():
        if path.split("/")[3] == area:
            create_test(operation=schema[path][method.upper()], test_func=send, config=made)()


@pytest.mark.parametrize(
    "area", [pytest.param(area, marks=pytest.mark.long) if area in LARGE else area for area in AREAS]
)
def test_the_edges_of_each_value_are_answered_as_the_document_says(area: str, schema: Any, token: str) -> None:
    send_all(schema, area, token, HypothesisTestMode.COVERAGE, few)


@pytest.mark.long
@pytest.mark.parametrize("area", AREAS)
def test_whatever_is_sent_is_answered_as_the_document_says(area: str, schema: Any, token: str) -> None:
    send_all(schema, area, token, HypothesisTestMode.FUZZING, settings(few, max_examples=EXAMPLES))


@pytest.mark.parametrize(
    "caller",
    ["nobody", "forged", "server", "device", "elsewhere", *(each for each in Scope.values if each != "device")],
)
@pytest.mark.long
def test_every_caller_gets_an_answer_that_the_document_names(
    caller: str, token: str, filled: Project, schema: Any
) -> None:
    match caller:
        case "nobody":
            headers = {}
        case "forged" | "server":
            headers = {"Authorization": f"Bearer {'oo_x_y' if caller == 'forged' else SERVER_SECRET}"}
        case "elsewhere":
            headers = {"Authorization": f"Bearer {api_for(filled, Scope.ADMIN, site='elsewhere').token}"}
        case _:
            headers = {"Authorization": f"Bearer {api_for(filled, caller).token}"}
    for path, item in DOCUMENT["paths"].items():
        for method in item.keys() - {"delete"}:
            case = schema[path][method.upper()].Case(path_parameters=ids_of(path), query={"offset": 100})
            case.call_and_validate(headers=headers, checks=CONFORMANCE)


def test_a_method_that_a_path_does_not_have_is_answered_in_one_line(admin: Any) -> None:
    answer = admin.raw("PUT", "/me")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert json.loads(answer.content)["error"] == "/api/v1/me knows no PUT, but GET"


def test_each_schema_has_a_name_of_its_own() -> None:
    """Of two of one name the document has one, and so one of both is told wrongly."""
    named: dict[str, set[str]] = {}
    several = [Schema]
    while several:
        made = several.pop()
        several += made.__subclasses__()
        if made.__module__.startswith("openomni.api."):
            named.setdefault(made.__name__, set()).add(made.__module__)
    twice = {name: modules for name, modules in named.items() if len(modules) > 1}
    assert not twice.keys() & DOCUMENT["components"]["schemas"].keys(), twice
