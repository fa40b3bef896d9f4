"""Whatever a caller sends by path, query or body, the answer is theirs to mend: never a failure of the server."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.filled import DOCUMENT, endpoints, fields_of, filled_in
from api.support import Api
from openomni.api.accounts.models import Project
from openomni.api.records import snapshots
from openomni.version import __version__

quick = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
numbers = st.integers(-(2**70), 2**70) | st.floats()
texts = st.text(st.characters(codec=None), max_size=6) | st.sampled_from(["\0", "\ud800", "x"])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def operations() -> list[tuple[str, str, list[str], list[str]]]:
    """Method, path, names of the query, and names of the body's fields."""
    found = []
    for method, path in endpoints():
        query = [each["name"] for each in DOCUMENT["paths"][path][method]["parameters"] if each["in"] == "query"]
        found.append((method.upper(), path.removeprefix("/api/v1"), query, fields_of(method, path)))
    return sorted(found)


@pytest.mark.parametrize(("method", "path", "query", "fields"), operations(), ids=lambda each: str(each)[:60])
def test_no_operation_fails_on_what_it_is_sent(
    admin: Api, method: str, path: str, query: list[str], fields: list[str]
) -> None:
    bodies = values
    if fields:
        bodies |= st.dictionaries(st.sampled_from(fields), values, max_size=len(fields))

    @quick
    @given(st.data())
    def sent(data: Any) -> None:
        def text() -> str:
            return quote(data.draw(texts | numbers.map(str)).encode("utf-8", "surrogatepass"), safe="") or "x"

        where = re.sub(r"\{[^}]*\}", lambda _: text(), path)
        asked = "&".join(f"{name}={text()}" for name in query if data.draw(st.booleans()))
        body = data.draw(bodies) if method in ("POST", "PUT", "PATCH") else None
        answer = admin.raw(method, f"{where}?{asked}", body)
        no_bus = answer.status_code == 503 and b"database" not in answer.content  # none runs here
        assert answer.status_code < 500 or no_bus, (where, asked, body, answer.content[:300])

    sent()


@pytest.mark.parametrize(
    "body",
    [b"[null,null]", b"{", b'{"a": NaN}', b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b'{"a": 99999999999999999999}',
     b'{"a":' + b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_cant_be_stored_is_refused_in_one_line(admin: Api, body: bytes) -> None:
    answer = admin.raw("POST", "/sessions", body)
    assert answer.status_code in (400, 422)
    assert json.loads(answer.content)["error"].startswith("the body ")


def test_a_body_that_is_too_big_is_413(admin: Api) -> None:
    assert "too big" in admin.error("POST", "/sessions", b" " * (2**24 + 1), status=413)


@pytest.mark.parametrize("first", ["2024-13-45T00:00:00Z", 7, "2024-01-01\0", "0001-01-01T00:00:00+23:00"])
def test_a_cursor_that_is_none_is_refused(admin: Api, first: Any) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([first, "x"]).encode()).decode().rstrip("=")
    assert "cursor" in admin.error("GET", f"/sessions?cursor={cursor}", status=400)


@pytest.mark.parametrize("path", ["/sessions/a%00b", "/sessions?device=%00"])
def test_a_character_that_is_no_text_is_refused(admin: Api, path: str) -> None:
    assert "NUL" in admin.error("GET", path, status=422)


@pytest.mark.parametrize("field", [{"started_at": 1e18}, {"started_at": -1}, {"rate": 10**9}, {"samples": 2**60}])
def test_a_recordings_numbers_are_bounded(admin: Api, field: dict[str, Any]) -> None:
    assert next(iter(field)) in admin.error("PUT", "/recordings/r1", field, status=422)


@pytest.mark.parametrize("unix", [float("nan"), float("inf"), 1e18, -1e18])
def test_no_unix_time_is_too_odd_for_a_moment(unix: float) -> None:
    assert snapshots.moment(unix) is None


@pytest.mark.parametrize("path", ["/conversations/a%00b/", "/agents/a%00b/", "/conversations/?page=%00", "/?%00=1"])
def test_a_page_says_in_a_line_that_an_address_holds_no_text(db: None, path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    where = "query" if "?" in path else "path"
    assert answer.content.decode().startswith(f"the {where} holds a character that is no text")


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("PATCH", "/sites/lab", {"name": None}, "name: null is no value"),
        ("PUT", "/recordings/r1", {"rate": "16000"}, "rate: "),
        ("POST", "/sites", {"slug": "lab", "name": "Lab", "nots": "x"}, "nots: unknown name"),
        ("POST", "/sites", {"slug": "-lab", "name": "Lab"}, "use small letters"),
        ("POST", "/tokens", {"scopes": ["viewer"], "sites": "lab"}, "sites: unknown name"),
    ],
)
def test_a_body_is_read_as_its_schema_says(admin: Api, method: str, path: str, body: dict[str, Any], says: str) -> None:
    assert says in admin.error(method, path, body, status=422)


def test_what_a_newer_part_sends_beside_is_left_out(admin: Api) -> None:
    admin("PUT", "/recordings/r1", {"media_type": "audio/flac", "of_a_newer_version": 1})


@pytest.mark.parametrize(
    "filters", ["/turns?status=done", "/tasks?kind=sst", "/recordings?kind=sound", "/sessions?status=o"]
)
def test_a_filter_that_no_row_can_have_is_refused_with_the_nearest(admin: Api, filters: str) -> None:
    line = admin.error("GET", filters, status=422)
    assert "did you mean" in line or "there are" in line


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/turns?sesion=s1", "sesion: unknown name in the query; did you mean 'session'? (there are: cursor, "),
        ("GET", "/sites?limit=3&site=lab", "site: unknown name in the query; there are: cursor, limit, project"),
        ("GET", "/hello?zzz=1", "zzz: unknown name in the query; there are none"),
        ("GET", "/sessions/s1?x=", "x: unknown name in the query; there are: project"),
        ("PUT", "/pipelines/mine?uncheckt=true", "uncheckt: unknown name in the query; did you mean 'unchecked'?"),
        ("DELETE", "/tokens/abc?forse=1", "forse: unknown name"),
    ],
)
def test_a_query_that_an_operation_does_not_have_is_refused(admin: Api, method: str, path: str, says: str) -> None:
    body = {"spec": {}} if method == "PUT" else None
    assert says in admin.error(method, path, body, status=422)


@pytest.mark.parametrize("path", [path for method, path in endpoints() if method == "get"])
def test_every_operation_takes_the_names_of_the_document_and_no_other(path: str, filled: Project, admin: Api) -> None:
    parameters = DOCUMENT["paths"][path]["get"]["parameters"]
    names = {each["name"] for each in parameters if each["in"] == "query"}
    assert ("project" in names) == ("security" in DOCUMENT["paths"][path]["get"])
    answer = admin.raw("GET", filled_in(path) + "?of_no_operation=1")
    if answer.status_code != 403:  # of the server alone
        assert (answer.status_code, b"of_no_operation: unknown name" in answer.content) == (422, True), answer.content


def test_what_a_newer_part_asks_beside_is_left_out(admin: Api) -> None:
    admin("GET", "/sites?of_a_newer_version=1", OpenOmni_Version="99.0.0")
    admin.error("GET", "/sites?of_a_newer_version=1", status=422, OpenOmni_Version=__version__)


def test_who_may_not_is_told_that_first(db: None) -> None:
    Api().error("GET", "/sites?sesion=1", status=401)


def test_what_a_part_does_not_know_may_be_null(admin: Api) -> None:
    made = admin("PUT", "/recordings/r1", {"rate": None, "samples": None, "of a newer version": 1})
    assert (made["rate"], made["samples"]) == (None, None)
