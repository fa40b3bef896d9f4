"""A whole OpenOmni in a temporary folder, for commands that need one for a while."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OpenOmniError
from . import processes
from .all_in_one import AllInOne, serving
from .processes import Child, children, command

READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A server that goes when the block ends, and with it its folder."""

    server: AllInOne
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def token(self) -> str:
        """May everything in its project."""
        return self.server.tokens.token

    def child(self, name: str, *arguments: str) -> Child:
        """`openomni ARGUMENTS` against this server, not yet started."""
        environment = {"OPENOMNI_SERVER": self.url, "OPENOMNI_TOKEN": self.token}
        return Child(name, command(*arguments), self.folder / f"{name}.log", environment)

    async def put_pipeline(self, spec: dict[str, Any]) -> None:
        """Makes a pipeline known to the server. Raises `OpenOmniError` when it does not take it."""
        import httpx

        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, trust_env=False) as client:
            answer = await client.put(f"/api/v1/pipelines/{spec['name']}", json={"spec": spec})
        if answer.is_error:
            raise OpenOmniError(f"the server does not take the pipeline {spec['name']}: {answer.text}")

    @contextlib.asynccontextmanager
    async def agents(self, offers: dict[str, str]) -> AsyncIterator[None]:
        """More agent processes, by name; all ready when the block begins."""
        ready = {name: self.folder / f"{name}.ready" for name in offers}
        started = [
            self.child(name, "agent", "--name", name, "--offer", offer, "--ready-file", str(ready[name]),
                       "--data-dir", str(self.folder / name))
            for name, offer in offers.items()
        ]  # fmt: skip
        async with children(*started):
            for file in ready.values():
                await self.until(file, *started)
            yield

    async def until(self, file: Path, *several: Child) -> None:
        """Waits for a file that one of them writes; raises what ended one of them, or the server, instead."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await processes.until(file, [*several, *self.server.parts])
        except TimeoutError:
            logs = ", ".join(str(each.log) for each in several)
            raise OpenOmniError(f"not ready within {READY_SECONDS:.0f} s; see {logs}") from None


@contextlib.asynccontextmanager
async def running(agent: Sequence[str] | None = None) -> AsyncIterator[Stack]:
    """All in one in a temporary folder; it serves when the block begins, its agent (of these options) still warming."""
    with tempfile.TemporaryDirectory(prefix="openomni-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with serving(folder / "data", agent=agent) as server:
            yield Stack(server, folder)
