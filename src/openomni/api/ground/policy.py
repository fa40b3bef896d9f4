"""What a browser may do with our pages: load from here alone, run no script and no style that stands in a page, give
the microphone to the talk page alone, and be in nobody's frame.

Only the admin's theme needs more (its library makes functions of texts, and styles in attributes); it gets it alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port

ADMIN, SIGN_IN, TALK = "/admin/", "/admin/login/", "/talk/"

_PAGE = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_ADMIN = _PAGE | {
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "font-src": "'self' data:",
}
_DEVICES = ("camera", "microphone")
_NOWHERE = ("accelerometer", "display-capture", "geolocation", "gyroscope", "midi", "payment", "serial", "usb")
KEPT_SECURE = 30 * 86_400
"""Seconds that a browser goes on asking this name over HTTPS alone: a laboratory's server may change its mind."""


class Policy:
    """Middleware: says so in the head of every answer."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        talks = request.path == TALK
        response.headers["Content-Security-Policy"] = _in_words(_sources(request, talks))
        allowed = [f"{name}={'(self)' if talks else '()'}" for name in _DEVICES]
        response.headers["Permissions-Policy"] = ", ".join((*allowed, *(f"{name}=()" for name in _NOWHERE)))
        if request.is_secure() and _has_name(request.get_host()):
            response.headers["Strict-Transport-Security"] = f"max-age={KEPT_SECURE}"
        return response


def _sources(request: HttpRequest, talks: bool) -> Mapping[str, str]:
    if request.path.startswith(ADMIN) and request.path != SIGN_IN:
        return _ADMIN
    if not talks:
        return _PAGE
    # To some browsers 'self' is no WebSocket.
    socket = f"{'wss' if request.is_secure() else 'ws'}://{request.get_host()}"
    return {**_PAGE, "connect-src": f"'self' {socket}"}


def _in_words(sources: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in sources.items())


def _has_name(host: str) -> bool:
    """Of its own: a browser keeps no such promise for an address, and localhost is everybody's."""
    name = split_domain_port(host)[0].strip("[]")
    try:
        return not ipaddress.ip_address(name)
    except ValueError:
        return name != "localhost" and not name.endswith(".localhost")
