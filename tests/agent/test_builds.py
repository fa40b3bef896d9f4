"""What tasks run on is told once, whole, and by an id that its content makes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from openomni import Audio, component, models
from openomni.agent import builds
from openomni.agent.builds import Builds
from openomni.agent.pool import ComponentPool
from openomni.components import registry
from openomni.components.stage import StageTiming
from openomni.events import Sound, Value
from openomni.pipeline.spec import StageSpec
from openomni.records import BuildRecord, decode, encode


@component("stt", "told-test", requires="msgspec")
class Told:
    """Says what it is."""

    def __init__(self, model: str, beams: int = 3, seed: int = 7, prompt: object = object) -> None:
        if model != "none":
            models.note(Path(model).with_name("noted.bin"))
        self.effective = {"threads": 2}

    def transcribe(self, audio: Audio) -> str:
        return "hi"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENOMNI_MODELS", str(tmp_path / "cache"))
    for name in ("given.bin", "noted.bin"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "given.bin"


async def run(pool: ComponentPool, **parameters: Any) -> StageTiming:
    async def inputs() -> AsyncIterator[Value]:
        yield Sound(Audio.silence(0.1, 16_000))

    timing = StageTiming()
    async for _ in pool.run(StageSpec("stt", "told-test", parameters), inputs(), timing):
        pass
    return timing


async def test_a_component_is_told_with_all_that_it_takes_to_build_it_again(model: Path) -> None:
    told: list[BuildRecord] = []
    pool = ComponentPool(registry.registered("stt"))
    pool.builds.tell_to("p", told.append)
    timing = await run(pool, model=str(model))
    (record,) = told
    assert (timing.build, timing.seed) == (record.build, 7)
    assert (record.kind, record.component, record.path) == ("stt", "told-test", f"{__name__}:Told")
    assert record.parameters | {"prompt": ""} == {
        "model": str(model), "beams": 3, "seed": 7, "prompt": "", "threads": 2,
    }  # fmt: skip
    assert [(file.name, file.size) for file in record.files] == [("given.bin", 9), ("noted.bin", 9)]
    assert record.files[0].sha256 == hashlib.sha256(b"given.bin").hexdigest()
    assert "msgspec" in record.libraries
    assert record.machine.cores > 0
    assert record.machine.python
    assert decode(encode(record)) == record
    await pool.close()


async def test_another_parameter_or_another_file_is_another_build(model: Path) -> None:
    told: list[BuildRecord] = []
    for parameters, content in (({}, b"1"), ({"beams": 1}, b"1"), ({}, b"other"), ({}, b"1")):
        model.write_bytes(content)
        pool = ComponentPool(registry.registered("stt"))
        pool.builds.tell_to("p", told.append)
        await run(pool, model=str(model), **parameters)
        await pool.close()
    first, second, third, again = (record.build for record in told)
    assert len({first, second, third}) == 3
    assert again == first


async def test_each_project_is_told_once_and_what_was_built_before_it_was_there_too() -> None:
    content = builds.describe(registry.find("llm", "simulated"), object(), {}, [])
    known, told = Builds(), []
    known.add(content)
    known.tell_to("a", told.append)
    known.add(content)
    known.tell_to("b", told.append)
    assert [(record.project, record.build) for record in told] == [("a", told[0].build), ("b", told[0].build)]


async def test_a_parameter_of_any_type_can_be_told(model: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    info = registry.find("stt", "told-test")
    content = builds.describe(info, object(), {"model": "none", "prompt": loop, "beams": 3.5}, [])
    assert content["parameters"]["beams"] == 3.5
    assert BuildRecord.of("p", **content).build
