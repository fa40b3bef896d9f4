"""What models do before anybody knows whether the person has finished: less is to be done then.

A voice that is asked for is loaded. A recogniser may keep up with somebody who speaks on. A language model reads
instructions, history and what was said so far, and says how likely a sentence is over where it stands; only one that
runs beside the session is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ..errors import OpenOmniError
from ..events import Message, Sound, Transcript, Value
from ..media import Audio
from .prompt import beginning, make_prompt
from .spec import Pipeline, StageSpec
from .task import TaskTrace
from .turn import StageRunner


class Ahead:
    """Of one session."""

    def __init__(self, pipeline: Pipeline, runner: StageRunner) -> None:
        self._runner = runner
        self._writers = [stage for stage in pipeline.stages if stage.kind == "llm"]
        self._voices = [stage for stage in pipeline.stages if stage.kind == "tts"]
        self.recogniser: StageSpec | None = next((stage for stage in pipeline.stages if stage.kind == "stt"), None)

    async def recognise(self, task: TaskTrace, audio: Audio) -> str:
        """What was said so far; empty where it could not be recognised: what fails here fails again at the end of the
        turn, and is told then."""
        text = ""
        try:
            async for value in self._runner.run(task.stage, task, _only(Sound(audio))):
                if isinstance(value, Transcript):
                    text = value.text
        except OpenOmniError:
            return ""
        return text

    async def load_voice(self, voice: str) -> None:
        """A voice that is asked for is loaded before it has to speak, where its component runs beside the session."""
        for stage in self._voices:
            await self._runner.load_voice(stage, voice)

    async def read(self, history: Sequence[Message], instructions: str | None, text: str = "") -> None:
        """Language models read what their next prompt begins with."""
        for stage in self._writers:
            prompt = make_prompt(stage.framework, history, text, instructions=instructions)
            await self._runner.prepare(stage, prompt.messages)

    async def ending(self, history: Sequence[Message], instructions: str | None, text: str) -> float | None:
        """How likely what was said is over where it ends, 0…1; None where no language model can say. What follows the
        words in a prompt of the pipeline's own would be judged too, so there it is not asked."""
        if not self._writers or self._writers[0].framework.template is not None:
            return None
        stage = self._writers[0]
        told = beginning(stage.framework, history, instructions)
        return await self._runner.ending(stage, [*told, Message("user", text)])


async def _only(value: Value) -> AsyncIterator[Value]:
    yield value
