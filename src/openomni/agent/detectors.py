"""What serves turn-taking on this machine, beside the stages: voice activity detectors and judges of a turn's end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from ..components import judge as judging
from ..components import registry
from ..components.fence import fenced, words
from ..components.registry import ComponentInfo, Key
from ..components.stage import StageError
from ..errors import OpenOmniError
from ..events import Endings
from ..media import Audio, Samples
from ..pipeline.judging import Judge
from ..pipeline.turn_taking import Detector

log = logging.getLogger(__name__)


class Detectors:
    """Of the components of `known`, each built once. What is not among them is not looked for: a pipeline comes from
    whoever may write one, and an import runs code."""

    def __init__(self, known: Mapping[Key, ComponentInfo]) -> None:
        self._known = known
        self._pool: dict[Key, Any] = {}
        self._complaints: set[tuple[str, str]] = set()

    async def detector(self, name: str) -> Detector:
        """A voice activity detector for one stream. Raises `OpenOmniError`."""
        component = await self._component("vad", name)
        try:
            with fenced():
                return _Watched(f"vad:{name}", component.open())
        except Exception as error:
            raise StageError(f"vad:{name}", f"raised {words(error)}") from error

    async def judge(self, name: str) -> Judge:
        """Says at a pause whether the person has finished; None where the component fails, which costs no turn.

        Raises `OpenOmniError` when it can't be built.
        """
        component = await self._component("turn", name)

        async def judge(audio: Audio, text: str, endings: Endings) -> float | None:
            try:
                answer = await judging.ask(component, audio, text, endings)
            except Exception as error:
                self._complain(name, type(error).__name__, f"raised {words(error)}")
                return None
            if fault := judging.fault(answer):
                self._complain(name, "answer", fault)
                return None
            return float(answer)

        return judge

    async def _component(self, kind: str, name: str) -> Any:
        key = (kind, name)
        if key not in self._known:
            offer = f"start it with --offer host,{kind}:{name}"
            raise OpenOmniError(f"this agent does not offer {kind}:{name}, which the pipeline takes turns by; {offer}")
        if key not in self._pool:
            self._pool[key] = await asyncio.to_thread(_made, self._known[key], f"{kind}:{name}")
        return self._pool[key]

    def _complain(self, judge: str, sort: str, reason: str) -> None:
        """Says once of each sort of fault what is wrong with a component that is asked at pauses."""
        if (judge, sort) not in self._complaints:
            self._complaints.add((judge, sort))
            log.warning("turn:%s: %s; where it fails, a pause ends after `unfinished_silence`", judge, reason)


class _Watched:
    """A component's detector, whose faults end its own session and nothing else."""

    def __init__(self, label: str, detector: Any) -> None:
        self._label, self._detector = label, detector
        self.window = int(detector.window)

    def __call__(self, samples: Samples) -> float:
        try:
            with fenced():
                return float(self._detector(samples))
        except Exception as error:
            raise StageError(self._label, f"raised {words(error)}") from error


def _made(info: ComponentInfo, where: str) -> Any:
    component = registry.construct(info, where, {})
    if hasattr(component, "warm_up"):
        try:
            with fenced():
                component.warm_up()
        except Exception as error:
            raise StageError(where, f"raised {words(error)}") from error
    return component
