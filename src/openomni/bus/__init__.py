"""The message engine: an embedded NATS server, the work queue, live calls and streams, the durable records."""

from __future__ import annotations

import sys
from importlib import import_module


def _import_nats() -> None:
    """nats-py does without aiohttp where it is absent. It needs it for `ws://` only, and most processes never do:
    importing it would be the larger part of what they pay to start. `connection` gives it back where it is needed."""
    if "nats" in sys.modules or "aiohttp" in sys.modules:
        return
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
    try:
        import_module("nats.aio.transport")
    finally:
        del sys.modules["aiohttp"]


_import_nats()
