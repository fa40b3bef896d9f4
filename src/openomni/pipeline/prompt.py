"""What a language model is given: instructions, what was said before, and the newest utterance with what is known."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import WrongUsage
from ..events import Documents, Emotion, Message, Prompt, Speaker, Tool
from ..media import Frame
from .spec import Framework


def make_prompt(
    framework: Framework,
    history: Sequence[Message],
    transcript: str,
    *,
    instructions: str | None = None,
    emotion: Emotion | None = None,
    documents: Documents | None = None,
    speaker: Speaker | None = None,
    frames: Sequence[Frame] = (),
    tools: Sequence[Tool] = (),
    tool_choice: str = "auto",
) -> Prompt:
    """`instructions` of the session, where there are some, stand for those of the pipeline. Without a transcript the
    history is what is answered."""
    messages = beginning(framework, history, instructions)
    if transcript.strip() or frames:
        messages.append(Message("user", _newest(framework, transcript, emotion, documents, speaker), tuple(frames)))
    return Prompt(tuple(messages), tuple(tools), tool_choice)


def beginning(framework: Framework, history: Sequence[Message], instructions: str | None = None) -> list[Message]:
    """What is known of the next prompt before the person speaks: instructions and history."""
    told = instructions if instructions is not None else framework.instructions
    return [*([Message("system", told)] if told else []), *recent(history, framework.history)]


def recent(history: Sequence[Message], turns: int | None) -> list[Message]:
    """The last `turns` turns of a history at most, from a user's message on; all for None.

    The oldest leave by halves rather than one by one: what a language model has read stays the beginning of its next
    prompt for some turns then.
    """
    if turns is None:
        return list(history)
    starts = [index for index, message in enumerate(history) if message.role == "user"]
    if turns <= 0 or not starts:
        return []
    step = max(turns // 2, 1)
    left_out = -(-max(len(starts) - turns, 0) // step) * step
    return list(history[starts[left_out] :])


def spread(frames: Sequence[Frame], count: int) -> tuple[Frame, ...]:
    """`count` of the frames, evenly spread, the newest among them."""
    if count <= 0 or not frames:
        return ()
    if count >= len(frames):
        return tuple(frames)
    step = len(frames) / count
    return tuple(frames[len(frames) - 1 - round(step * back)] for back in reversed(range(count)))


def _newest(
    framework: Framework,
    transcript: str,
    emotion: Emotion | None,
    documents: Documents | None,
    speaker: Speaker | None,
) -> str:
    known = {
        "transcript": transcript,
        "emotion": _feeling(emotion) if emotion else "",
        "documents": "\n".join(f"- {each.text}" for each in documents.documents) if documents else "",
        "speaker": speaker.label if speaker else "",
    }
    if framework.template is not None:
        try:
            return framework.template.format(**known)
        except (KeyError, IndexError, ValueError) as error:
            raise WrongUsage(
                f"the llm stage's template has a place that nothing fills ({error}); it may use "
                "{transcript}, {emotion}, {documents} and {speaker}, and {{ }} for braces"
            ) from None
    lines = [transcript]
    if known["documents"]:
        lines.insert(0, f"Use what bears on it:\n{known['documents']}\n")
    if known["emotion"]:
        lines.append(f"(The person sounds {known['emotion']}.)")
    if known["speaker"]:
        lines.append(f"(The speaker is {known['speaker']}.)")
    return "\n".join(lines)


def _feeling(emotion: Emotion) -> str:
    """Words for a value in −1…1."""
    if emotion.label:
        return emotion.label
    for bound, word in ((-0.6, "very negative"), (-0.2, "negative"), (0.2, "neutral"), (0.6, "positive")):
        if emotion.overall < bound:
            return word
    return "very positive"
