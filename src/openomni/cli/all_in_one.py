"""Gateway, API, bus and an agent as processes of this machine, on one address.

The parts start beside each other: none waits for another before it is told to. So the tokens are made here, and the
API lets them in; an agent loads its models while the tables are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api import layout, secrets
from ..bus.credentials import Authority
from ..bus.server import EmbeddedServer
from ..children import Child, children, failed
from ..errors import OpenOmniError
from ..proxies import without
from . import certificate
from .certificate import Certificate, addresses
from .logs import complaint
from .processes import command, free_port, until

WAIT_FOR_SERVER = 120
"""Seconds that our own agent waits for the API, which may be bringing large tables up to date."""
PATIENCE_S = 10.0
"""How long an agent may have trouble to join a server that answers, before somebody is told."""
LOOK_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Tokens:
    """What lets a person's scripts and the agent in; kept in `<data>/up.json`."""

    token: str
    agent_token: str


@dataclass(frozen=True, slots=True)
class AllInOne:
    """A server of all parts. `sign_in_path`: lets the owner in, once; empty after the first start. `phone_path`: the
    same, of each start over HTTPS."""

    url: str
    tokens: Tokens
    sign_in_path: str
    phone_path: str
    parts: list[Child]
    agent_ready: Path | None
    certificate: Certificate | None = None

    async def warm(self, notice: Callable[[str], None] | None = None) -> None:
        """Returns when the agent is ready, at once when there is none. Raises what ended one of the parts.

        Of an agent that can't join for `PATIENCE_S` seconds, `notice` gets the reason; without one, it is raised.
        """
        if self.agent_ready is None:
            return None
        told = ""
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await until(self.agent_ready, self.parts)
            except TimeoutError:
                reason = complaint(self.parts[-1].last_line()).partition("; trying again")[0]
            if reason and notice is None:
                raise OpenOmniError(f"the agent can't join: {reason} (log: {self.parts[-1].log})")
            if reason and notice is not None and reason != told:
                notice(f"the agent can't join yet: {reason}")
                told = reason

    async def watch(self) -> None:
        """Raises what ends one of the parts for good."""
        while (failure := failed(self.parts)) is None:
            await asyncio.sleep(LOOK_EVERY)
        raise failure


@contextlib.asynccontextmanager
async def serving(
    folder: Path, host: str = "127.0.0.1", port: int = 0, *, agent: Sequence[str] | None = (), tls: bool = False
) -> AsyncIterator[AllInOne]:
    """Serves when the block begins, its agent still warming; ends the agent first, so that it is heard to the end.

    `port` 0 takes a free one; `agent`: options of its agent, None for none; `tls`: over HTTPS, with a certificate of
    its own. Raises `OpenOmniError`.
    """
    _check_port(host, port)
    layout.check(folder)
    port = port or free_port(host)
    seeds = secrets.ensure(folder).bus
    kept = folder / "up.json"
    known = _known(kept)
    tokens = known or Tokens(secrets.new_token(), secrets.new_token())
    secured = certificate.own(folder / "tls", _names(host)) if tls else None
    shown = _shown(host)
    url = f"http{'s' if secured else ''}://{f'[{shown}]' if ':' in shown else shown}:{port}"
    api_port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        # A bus that listens elsewhere is used as it is; otherwise one of our own runs as long as we do.
        given = os.environ.get("OPENOMNI_BUS_URL")
        bus = given or (await stack.enter_async_context(EmbeddedServer(folder, Authority(seeds)))).url
        # Our own agent comes in by this machine's address, whatever proxy the rest goes through.
        shared = {"OPENOMNI_DATA_DIR": str(folder), "OPENOMNI_BUS_URL": bus, **without(shown)}
        if secured is not None:
            # Cookies stay on HTTPS, and our own agent trusts what it comes in by.
            shared |= {"OPENOMNI_HTTPS": "1", "SSL_CERT_FILE": str(secured.trusted)}
        made = {} if known else {"OPENOMNI_FIRST_TOKENS": json.dumps(_fields(tokens))}
        if secured is not None:
            made["OPENOMNI_PHONE_LINK"] = "1"

        def part(name: str, *arguments: str, **environment: str) -> Child:
            return Child(name, command(name, *arguments), folder / "logs" / f"{name}.log", {**shared, **environment})

        api_ready = _fresh(folder / ".api-ready.json")
        api = part("api", "--port", str(api_port), "--ready-file", str(api_ready), **made)
        door = ["--tls-cert", str(secured.cert), "--tls-key", str(secured.key)] if secured else []
        gateway = part("gateway", "--api", f"http://127.0.0.1:{api_port}", "--host", host, "--port", str(port), *door)
        parts, agent_ready = [api, gateway], None
        await stack.enter_async_context(children(api, gateway))
        if agent is not None:
            agent_ready = _fresh(folder / "agent" / "ready.json")
            options = ["--server", url, "--name", "local", "--ready-file", str(agent_ready),
                       "--wait-for-server", str(WAIT_FOR_SERVER), *agent]  # fmt: skip
            parts.append(part("agent", *options, OPENOMNI_TOKEN=tokens.agent_token))
            await stack.enter_async_context(children(parts[-1]))
            # An agent stays as long as a session does, and who holds one has to be told that it is over.
            stack.callback(gateway.tell, signal.SIGUSR1)
        await until(api_ready, parts)
        told = json.loads(api_ready.read_text())
        api_ready.unlink()
        write_private(kept, {**_fields(tokens), "url": url})
        await _answers(host, port, parts)
        yield AllInOne(
            url, tokens, told.get("sign_in_path", ""), told.get("phone_path", ""), parts, agent_ready, secured
        )


async def _answers(host: str, port: int, parts: list[Child]) -> None:
    """Returns when the gateway takes connections."""
    while (failure := failed(parts)) is None:
        try:
            _, writer = await asyncio.open_connection(_shown(host), port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise failure


def _known(kept: Path) -> Tokens | None:
    try:
        content = json.loads(kept.read_text())
        return Tokens(content["token"], content["agent_token"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise OpenOmniError(f"{kept} is damaged; remove it, and new tokens are made") from None


def _fields(tokens: Tokens) -> dict[str, str]:
    return {"token": tokens.token, "agent_token": tokens.agent_token}


def _fresh(ready: Path) -> Path:
    """Where a part will say that it is ready; what an earlier one said is gone."""
    ready.parent.mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)
    return ready


def _check_port(host: str, port: int) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise OpenOmniError(f"port {port} on {host} is taken; choose another with --port") from None
        raise OpenOmniError(f"can't serve on {host} port {port} ({error}); check --host and --port") from None


def write_private(path: Path, content: dict[str, str]) -> None:
    """Whole or not at all, readable by its owner only: it holds a token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(content))
    part.replace(path)


def _names(host: str) -> set[str]:
    """What the server may be called by whoever reaches it."""
    names = {"localhost", "127.0.0.1", "::1", host, socket.gethostname(), f"{socket.gethostname()}.local"}
    if host in ("0.0.0.0", "::", ""):
        names |= set(addresses())
    return names - {"0.0.0.0", "::", ""}


def _shown(host: str) -> str:
    """The address that a client on this machine uses."""
    return "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host
