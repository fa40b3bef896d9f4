from __future__ import annotations

from pathlib import Path

import pytest

from openomni.components import registry
from openomni.pipeline.spec import PipelineError, builtin, check, load, parse

GOOD = """\
name: mine
stages:
  - stt: faster-whisper
    model: tiny.en
  - llm: llama-cpp
    model: small
    instructions: Be brief.
  - tts: piper
    voice: joe
turn_taking: {vad: silero, end_of_turn_silence: 0.3}
"""
TEXT = {
    "type": "object",
    "properties": {"model": {"type": "string"}, "voice": {"type": "string"}},
    "additionalProperties": False,
}
SCHEMAS = {("stt", "faster-whisper"): TEXT, ("llm", "llama-cpp"): TEXT, ("tts", "piper"): TEXT, ("vad", "silero"): {}}


def test_a_file_is_read_into_stages_and_turn_taking() -> None:
    pipeline = parse(GOOD, "mine.yaml")
    assert pipeline.needs == [("stt", "faster-whisper"), ("llm", "llama-cpp"), ("tts", "piper")]
    assert pipeline.stages[1].parameters == {"model": "small"}
    assert pipeline.stages[1].framework.instructions == "Be brief."
    assert [stage.line for stage in pipeline.stages] == [3, 5, 8]
    assert pipeline.turn_taking.end_of_turn_silence == 0.3
    assert check(pipeline, SCHEMAS) == []


def test_its_normalised_form_is_read_back_with_the_same_hash() -> None:
    pipeline = parse(GOOD)
    again = parse(pipeline.normalised())
    assert again.normalised() == pipeline.normalised()
    assert again.hash == pipeline.hash


def test_the_hash_is_that_of_what_it_does() -> None:
    pipeline = parse(GOOD)
    assert parse(GOOD.replace("mine", "yours")).hash == pipeline.hash
    assert parse(GOOD + "description: words\n").hash == pipeline.hash
    assert parse(GOOD.replace("0.3", "0.4")).hash != pipeline.hash
    assert parse(GOOD.replace("tiny.en", "base.en")).hash != pipeline.hash
    assert parse(GOOD.replace("Be brief.", "Be long.")).hash != pipeline.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "p.yaml:1: no YAML"),
        ("- a\n- b\n", "a pipeline is a mapping"),
        ("name: x\n", "`stages` must be a list"),
        ("stages: [{stt: a}]\n", "`name` must be"),
        ("name: x\nstages: []\n", "at least one"),
        ("name: x\nstage:\n  - stt: a\n", "unknown key 'stage'; did you mean 'stages'?"),
        ("name: x\nstages:\n  - stt: a\n  - lm: b\n", "p.yaml:4: stage 2: unknown kind 'lm'; did you mean 'llm'?"),
        ("name: x\nstages:\n  - stt: {}\n", "p.yaml:3: stage 1: `stt:` takes a component's name"),
        ("name: x\nstages:\n  - vad: silero\n", "a vad is no stage; name it under `turn_taking`"),
        ("name: x\nstages: [{stt: a}]\nturn_taking: {vd: silero}\n", "unknown key 'vd'; did you mean 'vad'?"),
        ("name: x\nstages: [{stt: a}]\nturn_taking: {end_of_turn_silence: soon}\n", "Expected `float`"),
        ("name: x\nstages: [{stt: a}]\nturn_taking: {threshold: 3}\n", "probability between 0 and 1"),
        ("name: x\nstages:\n  - llm: a\n    history: many\n", "p.yaml:4: stage 1 (llm): Expected `int | null`"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place_and_the_mend(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(text, "p.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_component_gets_the_nearest_name() -> None:
    problems = check(parse(GOOD.replace("llama-cpp", "lama-cpp"), "p.yaml"), SCHEMAS)
    assert problems == ["p.yaml:5: stage 2 (llm): unknown component 'lama-cpp'; did you mean 'llama-cpp'?"]


def test_a_parameter_that_does_not_fit_is_named_with_its_line() -> None:
    (problem,) = check(parse(GOOD.replace("voice: joe", "voise: joe"), "p.yaml"), SCHEMAS)
    assert problem.startswith("p.yaml:9: stage 3 (tts)")
    assert "voice" in problem


def test_a_stage_whose_input_nobody_makes_is_refused() -> None:
    problems = check(parse("name: x\nstages: [{tts: piper}]\n"), SCHEMAS)
    assert any(
        "needs 'reply', which no earlier stage makes; put a llm or end_to_end stage" in each for each in problems
    )


def test_two_stages_that_make_the_same_are_refused() -> None:
    doubled = parse("name: x\nstages: [{stt: faster-whisper}, {stt: faster-whisper}]\n")
    assert any("makes 'transcript', but stage 1 does already" in each for each in check(doubled, SCHEMAS))


def test_an_unknown_detector_gets_the_nearest_name() -> None:
    assert any("did you mean 'silero'?" in each for each in check(parse(GOOD.replace("silero", "silro")), SCHEMAS))


def test_the_built_in_pipelines_are_right_with_the_components_that_come_along() -> None:
    schemas = {key: information.schema for key, information in registry.registered().items()}
    assert "local" in builtin()
    assert [check(pipeline, schemas) for pipeline in builtin().values()] == [[]] * len(builtin())


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="No such file"):
        load(tmp_path / "none.yaml")
