"""What a proxy in front says of the client is believed when the proxy is one of ours, and dropped from anyone else."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

_FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded")


class TrustedProxy:
    """ASGI middleware: the client's address, the scheme and the host as a trusted proxy forwards them."""

    def __init__(self, app: ASGIApp, trusted: Collection[str]) -> None:
        self.app = app
        self.trusted = frozenset(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._seen_from_outside(scope)
        await self.app(scope, receive, send)

    def _seen_from_outside(self, scope: Scope) -> Scope:
        said = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _FORWARDED}
        if not said:
            return scope
        headers = [(name, value) for name, value in scope["headers"] if name not in _FORWARDED]
        scope = {**scope, "headers": headers}
        peer = scope["client"][0] if scope.get("client") else "127.0.0.1"  # a Unix socket has no address
        if peer not in self.trusted and "*" not in self.trusted:
            return scope
        if said.get(b"x-forwarded-proto") in ("http", "https"):
            scope["scheme"] = said[b"x-forwarded-proto"]
        if host := said.get(b"x-forwarded-host"):
            scope["headers"] = [(name, value) for name, value in headers if name != b"host"]
            scope["headers"].append((b"host", host.encode("latin-1")))
        # The nearest proxy appends, so the last address that is none of ours is the client's.
        hops = [hop.strip() for hop in said.get(b"x-forwarded-for", "").split(",") if hop.strip()]
        strangers = [hop for hop in hops if hop not in self.trusted]
        if strangers:
            scope["client"] = (strangers[-1], 0)
        return scope
