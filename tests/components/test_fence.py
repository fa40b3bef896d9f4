"""Nothing that a component raises ends the process that it shares with others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from components.feeding import outputs, prompt
from openomni.components import registry
from openomni.components.fence import Escaped, fenced
from openomni.components.stage import LocalStage, StageError
from openomni.errors import OpenOmniError
from openomni.events import Text


class Mine(BaseException):
    """No `Exception`."""


LEAVING = [SystemExit(0), KeyboardInterrupt(), Mine("gone")]


@pytest.mark.parametrize("error", LEAVING, ids=repr)
def test_what_would_end_the_process_becomes_an_error(error: BaseException) -> None:
    with pytest.raises(Escaped, match=type(error).__name__), fenced():
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_all_else_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), fenced():
        raise error


def test_a_person_can_interrupt_a_long_import() -> None:
    with pytest.raises(KeyboardInterrupt), fenced(interruptible=True):
        raise KeyboardInterrupt


@pytest.mark.parametrize("error", ["SystemExit(0)", "KeyboardInterrupt()", "BaseException('gone')"])
def test_an_import_that_exits_is_told(error: str, tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text(f"raise {error}\n")
    code = """
        import asyncio
        from openomni.components import registry
        async def main():
            try:
                await asyncio.to_thread(registry.find, "stt", "leaves:Mine")
            except registry.OpenOmniError as error:
                print(error)
        asyncio.run(main())
    """
    script = tmp_path / "script.py"
    script.write_text("\n".join(line[8:] for line in code.splitlines()))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("leaves:Mine can't be imported: ")


def test_a_constructor_that_exits_is_told() -> None:
    @registry.component("llm", "exits-when-built")
    class Exits:
        def __init__(self) -> None:
            sys.exit(3)

        def generate(self, messages: object) -> str:
            return ""

    with pytest.raises(OpenOmniError, match="llm:exits-when-built could not be built: SystemExit: 3"):
        registry.build("llm", "exits-when-built")


class Exits:
    """An asynchronous component that ends the process where it is told to."""

    def __init__(self, where: str) -> None:
        self.where = where

    async def generate(self, messages: Any) -> AsyncIterator[str]:
        self._leave("generate")
        yield "fine"
        if self.where == "clean-up":
            try:
                await asyncio.Event().wait()
            finally:
                sys.exit(0)

    async def warm_up(self) -> None:
        self._leave("warm_up")

    def cancel(self) -> None:
        self._leave("cancel")

    def _leave(self, where: str) -> None:
        if where == self.where:
            sys.exit(0)


@pytest.mark.parametrize("where", ["generate", "warm_up"])
async def test_a_call_that_exits_in_the_event_loop_fails_alone(where: str) -> None:
    stage = LocalStage("llm", Exits(where))
    with pytest.raises(StageError, match="llm:Exits: raised SystemExit"):
        await outputs(stage, prompt())
    stage.component.where = ""
    assert await outputs(stage, prompt()) == [Text("fine")]


@pytest.mark.parametrize("where", ["cancel", "clean-up"])
async def test_a_clean_up_that_exits_ends_its_own_run_alone(where: str) -> None:
    stage = LocalStage("llm", Exits(where))

    async def inputs() -> AsyncIterator[Any]:
        yield prompt()

    running = stage.run(inputs())
    assert await anext(running) == Text("fine")
    await running.aclose()
    await asyncio.wait_for(stage.all_free(), 5)
    assert not stage.busy
