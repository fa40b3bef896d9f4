"""Our own key pair, and the credentials that the API gives us for it, as fresh as can be had."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import time
from collections.abc import Awaitable, Callable

from ..errors import OpenOmniError
from .credentials import Credentials, Keys

log = logging.getLogger(__name__)

Renew = Callable[[], Awaitable[Credentials]]
"""Fetches credentials for our public key; called before every connect and in good time before they expire."""

JUST_FETCHED = 1.0
"""Seconds for which fetched credentials serve one connect, not asked for again."""


class Login:
    """What NATS asks of whoever connects: the JWT, and its nonce signed with the seed, which never leaves us."""

    def __init__(self, renew: Renew, keys: Keys) -> None:
        self._renew = renew
        self._keys = keys
        self._credentials: Credentials | None = None
        self._fetched_at = -math.inf

    @property
    def known(self) -> bool:
        return self._credentials is not None

    @property
    def current(self) -> Credentials:
        assert self._credentials is not None
        return self._credentials

    @property
    def left(self) -> float:
        """Seconds until the current ones expire."""
        return max(self.current.expires_at - time.time(), 0.0)

    async def refresh(self) -> None:
        """Fetches fresh ones; keeps those at hand when the API is away and they still hold. Raises what it raised."""
        now = asyncio.get_running_loop().time()
        if now - self._fetched_at < JUST_FETCHED:
            return
        try:
            self._credentials = await self._renew()
            self._fetched_at = now
        except (OSError, OpenOmniError) as error:
            if self._credentials is None or self.left < 1.0:
                raise
            log.warning("no fresh bus credentials (%s); going on with those at hand", error)

    def jwt(self) -> bytes:
        return self.current.jwt.encode()

    def sign(self, nonce: str) -> bytes:
        return base64.b64encode(self._keys.sign(nonce.encode()))
