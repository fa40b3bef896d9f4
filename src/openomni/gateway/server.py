"""The gateway as a process: its secrets, its socket, and an end that every client is told of."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette

from ..bus.connection import Bus, connect
from ..bus.credentials import Authority, Credentials, Keys
from ..errors import OpenOmniError
from .app import application
from .services import Gateway

BUS_TTL = 86_400.0
"""Seconds that the gateway's own bus credentials hold; they are renewed in time."""
GRACE = 3
"""Seconds that open requests get when the gateway stops."""
END_SESSIONS = signal.SIGUSR1
FRAME_LIMIT = 2 << 20
"""Bytes of one WebSocket message: what the bus takes in one, with room. Doors have limits of their own."""


class Tls(msgspec.Struct, frozen=True):
    """A certificate and its key, in PEM."""

    cert: Path
    key: Path


class GatewaySecrets(msgspec.Struct, frozen=True):
    """What the gateway shares with the API: the secret that it shows there, and the seeds that sign for the bus."""

    server: str
    bus: dict[str, str]


def read_secrets(data_dir: Path, server: str | None = None) -> GatewaySecrets:
    """From `<data_dir>/secrets.json`; `server` goes before what stands there. Raises OpenOmniError with the mend."""
    path = data_dir / "secrets.json"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=GatewaySecrets)
    except FileNotFoundError:
        raise OpenOmniError(f"{path} is missing; start the API first, or copy the file from its --data-dir") from None
    except OSError as error:
        raise OpenOmniError(f"{path} can't be read ({error.strerror}); start as the user that owns it") from None
    except msgspec.MsgspecError as error:
        raise OpenOmniError(f"{path} is damaged ({error}); put its copy back") from None
    if not found.bus:
        raise OpenOmniError(f"{path} holds no seeds for the bus; start the API once, it makes them")
    return msgspec.structs.replace(found, server=server) if server else found


def bus_connection(urls: Sequence[str], seeds: dict[str, str]) -> Callable[[], Awaitable[Bus]]:
    """Connects with the role `server`, for as long as it takes."""
    authority, keys = Authority(seeds), Keys.create()

    async def renew() -> Credentials:
        return authority.issue("server", keys.public, BUS_TTL, name="gateway")

    return lambda: connect(list(urls), renew, keys, "gateway")


def listen(host: str, port: int) -> socket.socket:
    """A socket that is ours; port 0 takes a free one. Raises OpenOmniError with the mend."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise OpenOmniError(f"port {port} on {host} is taken; choose another with --port") from None
        raise OpenOmniError(f"can't listen on {host} port {port} ({error}); check --host and --port") from None
    return listener


def address(listener: socket.socket, tls: Tls | None = None) -> str:
    host, port = listener.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """uvicorn that says when it serves, and lets sessions end with a reason before it closes their connections."""

    def __init__(self, app: Starlette, ready: Callable[[], None] = lambda: None, tls: Tls | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app, loop="uvloop", http="httptools", ws="websockets-sansio", lifespan="on", log_level="warning",
                access_log=False, server_header=False, date_header=False, ws_max_size=FRAME_LIMIT,
                ws_ping_interval=20.0, ws_ping_timeout=60.0, ws_per_message_deflate=False,
                timeout_graceful_shutdown=GRACE, timeout_keep_alive=30,
                ssl_certfile=tls.cert if tls else None, ssl_keyfile=tls.key if tls else None,
            )
        )  # fmt: skip
        self._app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Sessions end, and all else is served on: agents come by the bus through here until they have finished.
        gateway: Gateway = self._app.state.gateway
        asyncio.get_running_loop().add_signal_handler(END_SESSIONS, gateway.closing.set)
        if self.started and not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        gateway: Gateway = self._app.state.gateway
        gateway.closing.set()
        if gateway.connections:
            await asyncio.wait(set(gateway.connections), timeout=GRACE)
        await super().shutdown(sockets)
        # uvicorn would raise the signal again, and an orderly end would look like a crash.
        self._captured_signals.clear()


def serve(
    listener: socket.socket,
    make: Callable[[], Gateway],
    ready: Callable[[], None] = lambda: None,
    tls: Tls | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, over HTTPS where `tls` is given; `ready` is called once requests are answered."""
    Server(application(make), ready, tls).run([listener])
