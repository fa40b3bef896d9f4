"""The components that are built on this machine: made on first use, kept warm, replaced when they hang."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import clock, models
from ..components import registry
from ..components.registry import ComponentInfo, Key
from ..components.stage import TIMEOUT, LocalStage, StageError, StageTiming
from ..errors import OpenOmniError
from ..events import Message, Value
from ..pipeline.spec import StageSpec
from . import builds
from .builds import BuildOfTask, Builds
from .detectors import Detectors

log = logging.getLogger(__name__)

KEPT = 8
"""How many components, told apart by their parameters too, stay built; the longest unused one goes first."""
INSTANCES = 3
"""How many of one component there may be when the earlier ones hang."""


@dataclass
class _Entry:
    """One component with its parameters: the instance in use, those that hang, and the one being built."""

    stage: LocalStage | None = None
    build: BuildOfTask = field(default_factory=BuildOfTask)
    hung: list[LocalStage] = field(default_factory=list)
    building: asyncio.Task[LocalStage] | None = None

    @property
    def idle(self) -> bool:
        return self.building is None and not self.hung and (self.stage is None or not self.stage.busy)


class ComponentPool:
    """Runs stages with the components of `known`, each built once for each set of parameters."""

    def __init__(self, known: Mapping[Key, ComponentInfo], on_change: Callable[[], None] = lambda: None) -> None:
        self._known = known
        self._on_change = on_change
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.turn_taking = Detectors(known)
        self.builds = Builds()

    def __contains__(self, key: object) -> bool:
        return key in self._known

    @property
    def stuck(self) -> int:
        """Calls that hung and still hold their thread."""
        return sum(stage.abandoned for entry in self._entries.values() for stage in entry.hung)

    async def warm(self, stage: StageSpec) -> float:
        """Builds and warms what a stage needs; seconds that it took. Raises `OpenOmniError`."""
        began = clock.now()
        await self._take(stage)
        return clock.now() - began

    async def run(
        self,
        stage: StageSpec,
        inputs: AsyncIterator[Value],
        timing: StageTiming,
        asked: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Value, None]:
        """The stage's outputs; `asked`: what the session asks of this run. A component that hangs is set aside, so that
        the next call gets another instance."""
        timing.ready = clock.now()
        entry, cold = self._entry(stage), False
        if entry.stage is None:
            timing.load_started, cold = timing.ready, True
        built = await self._take(stage)
        if cold:
            timing.loaded = clock.now()
        timing.build, timing.seed = entry.build.id, entry.build.seed
        try:
            async with aclosing(built.run(inputs, timing, stage.framework.timeout or TIMEOUT, asked)) as outputs:
                async for value in outputs:
                    yield value
        except StageError:
            self._set_aside_if_stuck(entry, built)
            raise

    async def prepare(self, stage: StageSpec, messages: Sequence[Message]) -> None:
        """Lets a language model that is built and idle warm its prefix; what goes wrong will show in its next run."""
        built = self._entry(stage).stage
        if built is not None:
            try:
                await built.prepare(messages)
            except StageError as error:
                log.warning("%s", error)

    async def load_voice(self, stage: StageSpec, voice: str) -> None:
        """Lets a voice's component load the voice of that name; what goes wrong will show in its next run."""
        try:
            built = await self._take(stage)
        except OpenOmniError as error:
            log.warning("%s", error)
        else:
            await built.load_voice(voice)

    async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
        """How likely the last message ends where it does, from a language model that is built and can say."""
        built = self._entry(stage).stage
        if built is None:
            return None
        try:
            return await built.ending(messages, stage.framework.timeout or TIMEOUT)
        except StageError as error:
            log.warning("%s", error)
            return None

    async def close(self) -> None:
        """Ends all; calls that never return are left behind."""
        entries, self._entries = list(self._entries.values()), OrderedDict()
        for entry in entries:
            if entry.building is not None:
                entry.building.cancel()
            for stage in (entry.stage, *entry.hung):
                if stage is not None:
                    await _close(stage)

    def _entry(self, stage: StageSpec) -> _Entry:
        key = self._key(stage)
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        if entry.stage is None:
            recovered = next((hung for hung in entry.hung if not hung.abandoned), None)
            if recovered is not None:
                entry.hung.remove(recovered)
                entry.stage = recovered
        return entry

    def _key(self, stage: StageSpec) -> str:
        properties = self._known[stage.kind, stage.component].schema.get("properties", {})
        defaults = {name: rule["default"] for name, rule in properties.items() if "default" in rule}
        return json.dumps([stage.kind, stage.component, {**defaults, **stage.parameters}], sort_keys=True, default=str)

    async def _take(self, stage: StageSpec) -> LocalStage:
        """The instance that serves a stage now; several who wait for one that is being built share it."""
        entry = self._entry(stage)
        if entry.stage is not None:
            return entry.stage
        if len(entry.hung) >= INSTANCES:
            raise StageError(stage.name, f"{INSTANCES} instances of it hang on this agent; restart the agent")
        if entry.building is None:
            entry.building = asyncio.create_task(self._build(stage, entry), name=f"build {stage.name}")
        return await asyncio.shield(entry.building)

    async def _build(self, stage: StageSpec, entry: _Entry) -> LocalStage:
        try:
            await self._make_room()
            info = self._known[stage.kind, stage.component]
            component, loaded = await asyncio.to_thread(_construct, info, stage)
            built = LocalStage(stage.kind, component)
            # It is told apart while it warms up; files that were hashed before are not read again.
            telling = asyncio.to_thread(builds.describe, info, component, stage.parameters, loaded)
            content, _ = await asyncio.gather(telling, built.warm_up())
            entry.build = BuildOfTask(self.builds.add(content), builds.seed_of(content))
            entry.stage = built
            return built
        finally:
            entry.building = None

    async def _make_room(self) -> None:
        for key, entry in list(self._entries.items()):
            if len(self._entries) <= KEPT:
                return
            if entry.idle:
                del self._entries[key]
                if entry.stage is not None:
                    await _close(entry.stage)

    def _set_aside_if_stuck(self, entry: _Entry, built: LocalStage) -> None:
        if entry.stage is built and built.abandoned >= built.slots:
            log.error("%s hangs; the next call gets another instance", built.label)
            entry.stage = None
            entry.hung.append(built)
            self._on_change()


def _construct(info: ComponentInfo, stage: StageSpec) -> tuple[Any, set[Path]]:
    with models.noting() as loaded:
        return registry.construct(info, stage.name, stage.parameters), loaded


def loading(timing: StageTiming) -> tuple[float, float]:
    """When a run's turn had come, and when its component was ready: the same moment for a warm one."""
    claimed = timing.claimed or clock.now()
    if timing.load_started is None or timing.loaded is None:
        return claimed, claimed
    return timing.load_started, timing.loaded


async def _close(stage: LocalStage) -> None:
    try:
        await stage.close()
    except StageError as error:
        log.warning("%s", error)
