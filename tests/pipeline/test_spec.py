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
        ("name: x\nstages: [{stt: a}]\nturn_taking: {end_of_turn_silence: soon}\n", "takes a number, not text"),
        ("name: x\nstages: [{stt: a}]\nturn_taking: {threshold: 3}\n", "probability between 0 and 1"),
        (
            "name: x\nstages:\n  - llm: a\n    history: many\n",
            "p.yaml:4: stage 1 (llm): history takes a whole number or null",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place_and_the_mend(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(text, "p.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


VAD = "  vad: silero\n"
TURNS = f"name: x\nstages: [{{stt: a}}]\nturn_taking:\n{VAD}"


@pytest.mark.parametrize(
    ("taking", "message"),
    [
        ("turn_threshold: 80", "turn_threshold is a probability from 0 to 1, not 80"),
        ("open_threshold: -0.1", "open_threshold is a probability from 0 to 1, not -0.1"),
        ("turn_threshold: .nan", "turn_threshold is a probability from 0 to 1, not nan"),
        ("open_threshold: 0.95", "open_threshold (0.95) is above turn_threshold (0.9)"),
        ("end_of_turn_silence: 400", "end_of_turn_silence takes at most 60, not 400; durations are in seconds"),
        ("speculate_after: .inf", "speculate_after takes at most 60, not inf; durations are in seconds"),
        ("recognise_every: 1400", "recognise_every takes at most 60, not 1400; durations are in seconds"),
        ("max_utterance: 60000", "max_utterance takes at most 3600, not 60000; durations are in seconds"),
        ("padding: -1", "padding must not be negative"),
        ("min_speech: .nan", "min_speech takes at most 60, not nan"),
        ("recognise_every: 0", "recognise_every must be at least 0.2 seconds, or null"),
        ("interruption: ignor", "interruption takes stop or ignore, not 'ignor'"),
        ("backchannels: mm-hm", "backchannels takes a list or null, not text"),
        ("backchannels: [yes]", "backchannels[0] takes text, not true or false; put it in quotes"),
        ("silence: 1", "unknown key 'silence'; did you mean"),
    ],
)
def test_a_value_of_turn_taking_that_can_not_be_meant_is_named_with_its_line(taking: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(f"{TURNS}  {taking}\n", "p.yaml")
    assert str(caught.value).startswith(f"p.yaml:5: turn_taking: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("taking", "message"),
    [
        (
            "end_of_turn_silence: 0.9",
            "p.yaml:4: turn_taking: unfinished_silence (0.8 s) is below end_of_turn_silence (0.9 s)",
        ),
        (
            "open_threshold: 0.1\n  open_silence: 0.5",
            "p.yaml:5: turn_taking: open_silence (0.5 s) is below unfinished_silence (0.8 s)",
        ),
    ],
)
def test_the_less_is_sure_the_longer_it_waits_where_somebody_is_asked(taking: str, message: str) -> None:
    parse(f"{TURNS}  {taking}\n")
    with pytest.raises(PipelineError) as caught:
        parse(f"{TURNS.removesuffix(VAD)}  {taking}\n  end_of_turn: words\n", "p.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "taking",
    [
        "open_silence: 0.5\n  end_of_turn: words",
        "speculate_after: 1.5",
        "max_utterance: 3600",
        "turn_threshold: 0\n  open_threshold: 0",
        "backchannels: ['yes']",
    ],
)
def test_what_may_be_meant_is_taken(taking: str) -> None:
    parse(f"{TURNS}  {taking}\n")


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
