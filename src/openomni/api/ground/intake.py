"""What comes in by a path, a query or a JSON body is tested once, before any view or endpoint reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja.parser import Parser

from ... import bounds
from .errors import Refusal, answer


class Intake:
    """Middleware: refuses a path or a query that the databases can't store, for they can't look it up either."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        given = [("path", str(value)) for value in kwargs.values()]
        given += [("query", text) for name, values in request.GET.lists() for text in (name, *values)]
        for where, text in given:
            if not bounds.storable(text):
                line = f"the {where} holds a character that is no text (NUL or half a surrogate); leave it out"
                if request.path.startswith("/api/"):
                    return answer(422, line)
                return HttpResponse(line, status=400, content_type="text/plain; charset=utf-8")
        return None


class Json(Parser):
    """Reads the JSON object that a body is. Raises Refusal for what is none, or can't be stored and given back."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            raise Refusal(400, "the body is no JSON; send one JSON object") from None
        if not isinstance(body, dict):
            raise Refusal(422, "the body must be a JSON object, {…}")
        if not bounds.storable_json(body):
            raise Refusal(
                422,
                "the body holds what can't be stored: NaN or infinity, NUL or half a surrogate in a text, "
                "an integer of more than 64 bits, or more than 20 levels",
            )
        return body
