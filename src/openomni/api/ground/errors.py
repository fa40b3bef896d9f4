"""What a caller did wrong, as JSON of one line: `{"error": "what, where, and the mend"}` with the fitting status."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from ...errors import OpenOmniError, nearest
from .faults import fault_line

log = logging.getLogger("openomni.api")


class Refusal(HttpError):
    """Refuses a request: `status`, one line with the mend, and more fields of the JSON where a program needs them."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(status, message)
        self.more = more


def bad_request(message: str) -> NoReturn:
    raise Refusal(400, message)


def not_found(what: str, name: str, known: Iterable[str] | None = None) -> NoReturn:
    """404 for `what` (a word) called `name`, with the nearest of the names that the caller may know of."""
    raise Refusal(404, f"there is no {what} {name!r} in this project" + (f"; {nearest(name, known)}" if known else ""))


def conflict(message: str, **more: Any) -> NoReturn:
    raise Refusal(409, message, **more)


def answer(status: int, message: str, **more: Any) -> JsonResponse:
    response = JsonResponse({"error": message, **more}, status=status)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def install(api: NinjaAPI) -> None:
    """Makes every failure of an endpoint one line of JSON."""

    def refused(request: HttpRequest, error: HttpError) -> HttpResponse:
        # Ninja wraps what reading a body raised into a 400 of its own; ours says more.
        told = error.__cause__ if isinstance(error.__cause__, Refusal) else error
        return answer(told.status_code, str(told), **getattr(told, "more", {}))

    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        return answer(422, "; ".join(map(fault_line, error.errors)))

    def invalid_model(request: HttpRequest, error: ModelValidationError) -> HttpResponse:
        fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        return answer(422, "; ".join(f"{field}: {' '.join(texts)}".lstrip(": ") for field, texts in fields.items()))

    def usage(request: HttpRequest, error: OpenOmniError) -> HttpResponse:
        return answer(400 if error.exit_code == 2 else 503, str(error))

    def too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        return answer(413, "the body is too big; send at most 16 MiB at a time")

    def missing(request: HttpRequest, error: Http404) -> HttpResponse:
        return answer(404, "there is no such thing in this project")

    def clash(request: HttpRequest, error: IntegrityError) -> HttpResponse:
        return answer(409, "that clashes with what exists already; read it again and change that")

    def unavailable(request: HttpRequest, error: OperationalError) -> HttpResponse:
        log.error("database: %s", error)
        return answer(503, "the database does not answer just now; try again")

    def failed(request: HttpRequest, error: Exception) -> HttpResponse:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        return answer(500, "the server failed on this request; its log says why")

    handlers: tuple[tuple[type[Exception], Any], ...] = (
        (HttpError, refused),
        (ValidationError, invalid),
        (ModelValidationError, invalid_model),
        (OpenOmniError, usage),
        (RequestDataTooBig, too_big),
        (Http404, missing),
        (IntegrityError, clash),
        (OperationalError, unavailable),
        (Exception, failed),
    )
    for kind, handler in handlers:
        api.add_exception_handler(kind, handler)
