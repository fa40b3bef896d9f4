"""The API's own way to the bus, and the credentials that it gives to agents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from ...errors import OpenOmniError
from .caller import AuthedRequest

if TYPE_CHECKING:
    from ...bus.connection import Bus
    from ...bus.credentials import Authority, Credentials

AGENT_TTL = timedelta(minutes=30)
"""How long an agent's credentials last; a revoked token keeps its agents on the bus for no longer."""
SERVER_TTL = timedelta(days=1)
_LOOPBACK = ("127.0.0.1", "::1", "localhost", "")


@cache
def authority() -> Authority:
    """The keys that sign everyone's credentials. Raises `OpenOmniError` before the first start."""
    from ...bus.credentials import Authority

    if not settings.BUS_SEEDS:
        raise OpenOmniError("this server has no secrets yet; make them with: openomni api migrate")
    return Authority(settings.BUS_SEEDS)


def for_agent(request: AuthedRequest, agent_id: str, public_key: str) -> Credentials:
    """Credentials for an agent of the caller's project; they end when its token does, if that is sooner."""
    ttl = AGENT_TTL
    if request.auth.token_expires_at:
        ttl = min(ttl, request.auth.token_expires_at - timezone.now())
    return authority().issue(
        "agent", public_key, ttl.total_seconds(), project=request.auth.project_id, agent_id=agent_id
    )


def urls(request: AuthedRequest) -> list[str]:
    """Where an agent reaches the bus: directly on this machine, else through the door it came in by."""
    if settings.BUS_PUBLIC_URL:
        return [settings.BUS_PUBLIC_URL]
    bus_is_here = urlsplit(settings.BUS_URL.partition(",")[0]).hostname in _LOOPBACK
    if not bus_is_here or request.META.get("REMOTE_ADDR", "") in _LOOPBACK:
        return [url.strip() for url in settings.BUS_URL.split(",")]
    return [f"{'wss' if request.is_secure() else 'ws'}://{request.get_host()}/bus"]


def connecting(name: str) -> Callable[[], Awaitable[Bus]]:
    """Makes a function that connects the server itself under `name`; it waits for ever for a bus that is away."""
    from ...bus.connection import connect
    from ...bus.credentials import Keys

    async def open_bus() -> Bus:
        keys = Keys.create()

        async def renew() -> Credentials:
            return authority().issue("server", keys.public, SERVER_TTL.total_seconds(), name=name)

        return await connect(settings.BUS_URL.split(","), renew, keys, name)

    return open_bus
