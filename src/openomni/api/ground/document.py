"""The OpenAPI document: what each operation refuses beside what it gives.

Most of it follows from the operation itself, and is added to all of them here; what only its code knows, such as
409, it says by `openapi_extra=also(409)` where its route is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Set
from functools import cached_property, wraps
from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI

from ...errors import nearest
from ...version import __version__, numbers
from .errors import Refusal
from .fields import without_null

WHY = {
    400: "The body is no JSON, the cursor is none of ours, or what is asked can't be; the line says which.",
    401: "No token, or one that is unknown, revoked or over.",
    403: "The caller may not do this: it needs another scope, or is of another place than the token is limited to.",
    404: "There is no such thing in this project, or none of that name among the caller's projects.",
    409: "It clashes with what is there; the line says with what. Of an upload, `received` says where to go on.",
    413: "The body is above 16 MiB, or above 4 MiB where it is JSON.",
    416: "The range lies outside of the bytes that are here.",
    422: "A value is out of bounds or of another type than the document says, or a name unknown; the line says which.",
    426: "The client is too old for this server: `OpenOmni-Version` is below `min_client`.",
    429: "The caller has too many that nothing came of; the line says when there is room again.",
    503: "The database or the bus does not answer just now, or the server runs without a bus; try again.",
    507: "The server's disk is full; try again when there is room.",
}
"""Every status that says no, and what it says."""

ERROR = {
    "type": "object",
    "title": "Error",
    "description": "Why a request was refused. The fields beside `error` are for programs, where they say something.",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "minLength": 1, "description": "one line: what, where, and the mend"},
        "received": {"type": "integer", "minimum": 0, "description": "bytes of the recording that are on disk"},
        "waiting": {"type": "integer", "minimum": 0, "description": "recordings that are on their way"},
        "errors": {
            "type": "array",
            "items": {"type": "string"},
            "description": "all faults of a pipeline",
        },
        "problems": {"type": "array", "items": {"type": "string"}, "description": "what keeps a pipeline from running"},
        "min_client": {"type": "string", "description": "the oldest version of a client that this server works with"},
    },
    "additionalProperties": True,
}
ABOUT = """
Send `Authorization: Bearer oo_…`.

Whatever is refused is answered with `{"error": "…"}`: one line that says what, where, and the mend. A status that an
operation does not list is a fault of the server.

A query with a name that an operation does not have is refused; from parts of OpenOmni that are newer than this server
such a name is ignored. So it is in a body whose schema allows additional properties, for it comes from such parts; any
other body with an unknown name is refused.
A field is there with a value or left out; null is refused where the schema does not name it. Times that are read are
RFC 3339 with an offset, or Unix time where a field says so.
"""


def also(*refused: int, gives: str = "", takes: str = "") -> dict[str, Any]:
    """`openapi_extra` of a route: statuses that don't follow from the operation, the media type of the file that it
    gives, in ranges, and that of the bytes that it takes as its body."""
    extra: dict[str, Any] = {"responses": {status: _refusal(status) for status in refused}}
    if gives:
        content = {gives: {"schema": {"type": "string", "format": "binary"}}}
        ranges = {"in": "header", "name": "Range", "required": False, "schema": {"type": "string"}}
        extra["parameters"] = [{**ranges, "description": "`bytes=FIRST-LAST`; what has another form is ignored"}]
        extra["responses"] |= {
            200: {"description": "All of it.", "content": content},
            206: {"description": "A range of it.", "content": content},
            416: _refusal(416),
        }
    if takes:
        content = {takes: {"schema": {"type": "string", "format": "binary"}}}
        extra["requestBody"] = {"required": False, "content": content}
    return extra


class Interface(NinjaAPI):
    """A NinjaAPI whose document is complete, and which takes no query with a name that the document doesn't have."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_decorator(self._only_known, mode="operation")

    def get_openapi_schema(self, **options: Any) -> Any:
        return complete(super().get_openapi_schema(**options))

    def _only_known(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """What comes with a name that is misspelt would be answered as if nothing had been asked."""

        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # A part that is newer than this server may ask for more.
            if request.GET and numbers(request.headers.get("OpenOmni-Version", "")) <= numbers(__version__):
                check_query(request.GET, self._queries[str(request.method).lower(), _path(request)])
            return view(request, *args, **kwargs)

        return checked

    @cached_property
    def _queries(self) -> dict[tuple[str, str], set[str]]:
        """The names of each operation's query."""
        return {
            (method, path): {each["name"] for each in operation["parameters"] if each["in"] == "query"}
            for path, item in self.get_openapi_schema()["paths"].items()
            for method, operation in item.items()
        }


def check_query(given: Iterable[str], known: Set[str]) -> None:
    """Raises `Refusal` for a name that is not known."""
    for name in sorted(set(given) - known):
        hint = nearest(name, known)
        there = "" if hint.startswith("there") else f" (there are: {', '.join(sorted(known))})"
        raise Refusal(422, f"{name:.80}: unknown name in the query; {hint}{there}")


def _path(request: HttpRequest) -> str:
    """As the document has it."""
    assert request.resolver_match is not None
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/{request.resolver_match.route}")


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every refusal of every operation."""
    for item in document["paths"].values():
        for method, operation in item.items():
            # Ninja gives the same object to all methods of a route.
            item[method] = whole = json.loads(json.dumps(operation))
            whole["responses"] |= {str(status): _refusal(status) for status in _follows(whole)}
            whole["responses"] = dict(sorted(whole["responses"].items()))
            if whole.get("security"):
                whole["parameters"].append(_project())
            for parameter in whole["parameters"]:
                parameter["schema"] = without_null(parameter["schema"])
            if method == "head":
                whole["operationId"] += "_head"
                for response in whole["responses"].values():
                    response.pop("content", None)
    components = document["components"]
    components["schemas"]["Error"] = ERROR
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    components["responses"] = {
        f"Refused{status}": {"description": why, "content": content} for status, why in WHY.items()
    }
    return document


def _follows(operation: dict[str, Any]) -> Iterator[int]:
    """The statuses that follow from what an operation takes."""
    # A path or a query may hold what is no text, whatever the operation knows of; any client may be too old.
    yield from (422, 426)
    if operation.get("security"):
        yield from (401, 403, 404, 503)
    if any(each["name"] == "cursor" for each in operation["parameters"]):
        yield 400
    if body := operation.get("requestBody"):
        yield 413
        if "application/json" in body["content"]:
            yield 400


def _project() -> dict[str, Any]:
    described = "the project that a signed-in person acts in, as the header `OpenOmni-Project` says; a token has one"
    plain = {"type": "string", "title": "Project", "default": ""}
    return {"in": "query", "name": "project", "schema": plain, "required": False, "description": described}


def _refusal(status: int) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/Refused{status}"}
