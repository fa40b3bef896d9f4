"""What a language model is told of what it wrote, and what the record says of it."""

from __future__ import annotations

import pytest

from openomni.events import ReplySound, ReplyText
from pipeline.test_dialogue import Runner, Talk, judged

WRITTEN = (
    "**Well**, it is [a long story](https://example.org/a). "
    + "".join(f"\n## Part {number} 😀\n- It has *seven* words, __in__ it. " for number in range(6))
).strip()


@pytest.mark.parametrize("moment", [0.3, 0.7, 1.1, 1.6, 2.1])
def test_an_interrupted_reply_is_told_in_the_words_as_written(moment: float) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(moment)
        await talk.speak(1.2, which=1)
        await talk.wait(6.0)

    runner = Runner(said=("tell me a story", "no stop please"), reply=f"<think> They ask. </think> {WRITTEN}")
    talk = Talk(runner, finished=judged(0.9)).hold(script)
    first = talk.turns[0]
    assert first.interrupted
    assert first.reply_text.strip().startswith("**Well**, it is"), "as far as it was written"
    (writer,) = [stage for stage in first.stages if stage.kind == "llm"]
    assert writer.output["reasoning"].strip() == "They ask."
    heard = str(writer.output["heard"])
    assert heard
    assert first.reply_text.strip().startswith(heard)
    assert [message.content for message in talk.prompts[-1] if message.role == "assistant"] == [heard]
    shown = "".join(event.text for _, event in talk.out if isinstance(event, ReplyText))
    assert "They ask" not in shown
    voice = [value.text for kind, values in runner.seen if kind == "tts" for value in values]  # type: ignore[union-attr]
    assert not [text for text in voice if set(text) & set("*[]#_😀") or "They ask" in text or "http" in text]
