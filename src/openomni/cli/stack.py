"""A whole OpenOmni in a temporary folder, for commands that need one for a while."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..children import Child, children
from ..components import registry
from ..errors import OpenOmniError, WrongUsage
from ..pipeline import spec
from .all_in_one import AllInOne, serving
from .processes import command, until

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

    def child(self, name: str, *arguments: str, comes_to_an_end: bool = False) -> Child:
        """`openomni ARGUMENTS` against this server, not yet started."""
        environment = {"OPENOMNI_SERVER": self.url, "OPENOMNI_TOKEN": self.token}
        return Child(
            name, command(*arguments), self.folder / f"{name}.log", environment, comes_to_an_end=comes_to_an_end
        )

    async def put_pipeline(self, spec: dict[str, Any]) -> None:
        """Makes a pipeline known to the server. Raises `OpenOmniError` when it does not take it."""
        import httpx

        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, trust_env=False) as client:
            answer = await client.put(f"/api/v1/pipelines/{spec['name']}", json={"spec": spec})
        if answer.is_error:
            raise OpenOmniError(f"the server does not take the pipeline {spec['name']}: {answer.text}")

    async def know(self, pipeline: spec.Pipeline) -> None:
        """A pipeline from a file is made known to the server; a built-in one is."""
        if pipeline.name in spec.builtin() and spec.builtin()[pipeline.name].hash == pipeline.hash:
            return
        await self.put_pipeline(pipeline.normalised())

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
                await until(file, [*several, *self.server.parts])
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


def check_and_pull(pipeline: spec.Pipeline) -> None:
    """Before anything starts: raises OpenOmniError for what this machine can't run, and fetches the models, so that a
    download is seen, and not taken for a slow turn."""
    from .chosen import local_schemas
    from .models import pull_for

    problems = spec.check(pipeline, local_schemas(pipeline))
    if problems:
        raise WrongUsage(problems[0])
    for kind, component in pipeline.needs:
        information = registry.find(kind, component)
        if information.missing:
            raise OpenOmniError(f"{kind}:{component} can't run here: {information.mend}")
    pull_for(pipeline)


def agent_for(pipeline: spec.Pipeline, named: str) -> list[str]:
    """Options of an agent that offers just what the pipeline needs, whatever that is, and is warm for it."""
    # A host has whatever serves turn-taking and is installed; what is named by import path is not.
    by_path = [each for each in pipeline.turn_taking.needs if ":" in each[1]]
    offer = ",".join(["host", *(f"{kind}:{component}" for kind, component in (*pipeline.needs, *by_path))])
    known = named in spec.builtin() or named.endswith((".yaml", ".yml"))
    return ["--offer", offer, *(["--warm", named] if known else [])]
