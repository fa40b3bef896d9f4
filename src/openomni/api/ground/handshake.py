"""Versions are shaken hands on: a client that is too old is told what to upgrade, before anything else."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from ... import version as version_of
from ...version import __version__
from .errors import answer

HEADER = "OpenOmni-Version"
MIN_CLIENT = version_of.OLDEST
"""The oldest agent, listener or gateway that this server works with."""


def too_old(version: str) -> bool:
    return version_of.too_old(version)


def upgrade_line(version: str) -> str:
    return version_of.upgrade_line(version, "the part that asks", "this server")


class Handshake:
    """Middleware: answers 426 to clients that are too old, and tells everyone the server's version."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith("/api/"):
            return self.get_response(request)
        version = request.headers.get(HEADER, "")
        if version and too_old(version):
            response: HttpResponseBase = answer(426, upgrade_line(version), min_client=MIN_CLIENT)
        else:
            response = self.get_response(request)
            # What no endpoint has is answered here, for Django would send a page.
            if not response.headers.get("Content-Type", "").startswith("application/"):
                if response.status_code == 404:
                    response = answer(404, f"there is no endpoint {request.path}; /api/v1/docs lists them")
                elif response.status_code == 405:
                    allowed = response.headers["Allow"]
                    response = answer(405, f"{request.path} knows no {request.method}, but {allowed}")
                    response.headers["Allow"] = allowed
        response.headers[HEADER] = __version__
        return response
