"""What a `session.update` may name: all that the OpenAI Realtime API knows, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.realtime import (
    RealtimeAudioConfigInput,
    RealtimeAudioConfigOutput,
    RealtimeSessionCreateRequest,
    RealtimeSessionCreateResponse,
)

from openomni.gateway.protocol import ProtocolError
from openomni.gateway.realtime_settings import RealtimeSettings


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ({"instruction": "x"}, "`session` has no 'instruction'; did you mean 'instructions'?"),
        ({"audio": {"outptu": {}}}, "`session.audio` has no 'outptu'; did you mean 'output'?"),
        ({"audio": {"input": {"formt": {}}}}, "`session.audio.input` has no 'formt'; did you mean 'format'?"),
        ({"audio": {"output": {"x": 2}}}, "`session.audio.output` has no 'x'; there are: format, speed, voice"),
        ({"voice": "low"}, "`session` has no 'voice'; it is `session.audio.output.voice` now"),
        ({"turn_detection": None}, "`session` has no 'turn_detection'; it is `session.audio.input.turn_detection` now"),
        ({"modalities": ["text"]}, "`session` has no 'modalities'; it is `session.output_modalities` now"),
        ({"speed": 1.5}, "`session` has no 'speed'; it is `session.audio.output.speed` now"),
    ],
)  # fmt: skip
def test_a_name_that_nobody_knows_is_an_error_with_the_nearest(session: Any, said: str) -> None:
    settings = RealtimeSettings("s" * 32, "local")
    with pytest.raises(ProtocolError) as caught:
        settings.update({"instructions": "Be brief.", **session})
    assert (caught.value.code, caught.value.message) == ("unknown_parameter", said)
    assert str(caught.value.param).startswith("session.")
    assert settings.instructions is None, "all of an update is taken, or nothing"


def test_every_field_of_the_api_may_be_named_and_the_session_sent_back() -> None:
    settings = RealtimeSettings("s" * 32, "local")
    known = {
        name: None
        for name in (*RealtimeSessionCreateRequest.model_fields, *RealtimeSessionCreateResponse.model_fields)
        if name not in ("type", "model", "audio", "output_modalities", "object")
    }
    audio = {
        "input": dict.fromkeys(RealtimeAudioConfigInput.model_fields),
        "output": dict.fromkeys(RealtimeAudioConfigOutput.model_fields),
    }
    settings.update({**known, "audio": audio})
    settings.update(settings.session())
