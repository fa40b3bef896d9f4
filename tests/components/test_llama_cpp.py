"""llama.cpp in this process: streamed, cancelled, with its prefix kept warm."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openomni.components.conformance import conformance
from openomni.components.llm.llama_cpp import ContextFullError, LlamaCpp, _Call
from openomni.errors import OpenOmniError
from openomni.events import Message, Text, Usage

pytestmark = pytest.mark.models

INSTRUCTIONS = Message("system", "You are a helpful voice assistant. Answer in one or two short sentences.")
QUESTION = Message("user", "What is the capital of France?")


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaCpp]:
    component = LlamaCpp(max_tokens=16, context=512)
    component.warm_up()
    yield component
    component.close()


def text(pieces: list[str | Usage]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def test_reasoning_that_llama_cpp_tells_apart_stays_apart() -> None:
    thought, said = ({"choices": [{"delta": {name: "Hm."}}]} for name in ("reasoning_content", "content"))
    call = _Call({}, 16)
    assert [*call.read(thought), *call.read(said)] == [Text("", "Hm."), "Hm."]


class Listening:
    """Stands before llama.cpp's server and keeps what it was asked and what it told."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.requests: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.progress = threading.Event()
        self.brief = False
        """Whether a request ends once it is known how long it is: reading it takes much longer."""

    def handle_chat_completions(self, request: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        def listen(event: dict[str, Any]) -> bool:
            self.told.append(event)
            if "prompt_progress" in event:
                self.progress.set()
            return take(event) or (self.brief and "prompt_progress" in event)

        self.requests.append(request)
        self._server.handle_chat_completions(request, listen)

    def handle_completions(self, request: dict[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        self._server.handle_completions(request, take)

    @property
    def cached(self) -> int:
        """Tokens of the last prompt that were in the slot already."""
        usages = [event["usage"] for event in self.told if event.get("usage")]
        return int(usages[-1]["prompt_tokens_details"]["cached_tokens"])


@pytest.fixture
def listening(llama: LlamaCpp, monkeypatch: pytest.MonkeyPatch) -> Listening:
    listening = Listening(llama._server)
    monkeypatch.setattr(llama, "_server", listening)
    return listening


def test_streams_a_reply_and_says_what_it_took(llama: LlamaCpp) -> None:
    *pieces, usage = llama.generate([INSTRUCTIONS, QUESTION])
    assert "Paris" in text(pieces)
    assert len(pieces) > 4
    assert isinstance(usage, Usage)
    assert usage.input_tokens is not None
    assert usage.input_tokens > 20
    assert usage.output_tokens is not None
    assert usage.output_tokens <= 16


def test_the_same_messages_give_the_same_reply(llama: LlamaCpp) -> None:
    first, second = (text(list(llama.generate([INSTRUCTIONS, QUESTION]))) for _ in range(2))
    assert first == second


@pytest.mark.long
def test_it_knows_where_a_sentence_ends_whatever_mark_stands_there(llama: LlamaCpp) -> None:
    def ending(said: str) -> float:
        found = llama.ending([Message("system", "Answer in one sentence."), Message("user", said)])
        assert found is not None
        return found

    assert ending("What is the capital of France?") > 0.7
    assert ending("What is the capital of France") == pytest.approx(ending("What is the capital of France..."))
    for half in ("Could you explain?", "What is the capital of.", "My neighbour has given me a..."):
        assert ending(half) < 0.1


def test_what_was_read_to_know_that_is_not_read_again(llama: LlamaCpp, listening: Listening) -> None:
    asked = [Message("system", "Answer in one sentence."), Message("user", "Why is the sky blue in the evening?")]
    llama.ending(asked)
    text(list(llama.generate(asked)))
    assert listening.cached >= 18  # all but the mark, the end of the message and the beginning of the reply


def test_a_model_that_is_to_speak_again_does(llama: LlamaCpp) -> None:
    twice = [INSTRUCTIONS, QUESTION, Message("assistant", "It is Paris."), Message("assistant", "Yes, Paris.")]
    llama.prepare(twice)
    assert text(list(llama.generate(twice))).strip()


def test_prepared_history_is_not_read_again(llama: LlamaCpp, listening: Listening) -> None:
    history = [INSTRUCTIONS, QUESTION, Message("assistant", "The capital of France is Paris, of course.")]
    llama.prepare(history)
    *_, usage = llama.generate([*history, Message("user", "How many people live there?")])
    assert isinstance(usage, Usage)
    assert usage.input_tokens is not None
    new = usage.input_tokens - listening.cached
    assert listening.cached > 40
    assert new < 25


def test_a_cancel_while_the_prompt_is_read_ends_within_a_batch(llama: LlamaCpp, listening: Listening) -> None:
    pieces: list[str | Usage] = []
    long = Message("user", "The quick brown fox jumps over the lazy dog. " * 40)
    call = threading.Thread(target=lambda: pieces.extend(llama.generate([INSTRUCTIONS, long])))
    call.start()
    assert listening.progress.wait(60)
    llama.cancel()
    call.join(60)
    assert not call.is_alive()
    assert pieces == []
    done = [event["prompt_progress"] for event in listening.told if "prompt_progress" in event]
    assert done[-1]["processed"] <= done[0]["processed"] + 2 * 128
    assert done[-1]["processed"] < done[-1]["total"]


def test_a_reply_that_nobody_reads_further_stops(llama: LlamaCpp, listening: Listening) -> None:
    reply = llama.generate([INSTRUCTIONS, Message("user", "Tell me a long story about a dog.")])
    next(reply)
    reply.close()  # type: ignore[attr-defined]
    assert not any(event.get("usage") for event in listening.told)
    assert text(list(llama.generate([INSTRUCTIONS, QUESTION])))


def test_a_cancel_when_nothing_runs_leaves_the_next_call_alone(llama: LlamaCpp) -> None:
    llama.cancel()
    assert text(list(llama.generate([INSTRUCTIONS, QUESTION])))


class TestFullContext:
    """A context of 512 tokens."""

    def history(self, turns: int) -> list[Message]:
        told = []
        for number in range(turns):
            told.append(Message("user", f"Question {number}: what do you know about the number {number}?"))
            told.append(Message("assistant", f"The number {number} comes before the number {number + 1}, as ever."))
        return told

    def test_the_oldest_history_is_forgotten_and_the_instructions_are_not(
        self, llama: LlamaCpp, listening: Listening
    ) -> None:
        listening.brief = True
        messages = [INSTRUCTIONS, *self.history(30), QUESTION]
        list(llama.generate(messages))
        sent = listening.requests[-1]["messages"]
        assert sent[0]["content"] == INSTRUCTIONS.content
        assert sent[-1]["content"] == QUESTION.content
        assert sent[1] != {"role": "user", "content": self.history(1)[0].content}
        assert sent[1:-1] == [{"role": m.role, "content": m.content} for m in self.history(30)[-len(sent[1:-1]) :]]
        assert listening.told[-1]["prompt_progress"]["total"] <= 512 - 16
        asked = len(listening.requests)
        list(llama.generate([*messages, Message("assistant", "It is Paris."), QUESTION]))
        assert len(listening.requests) == asked + 1, "what was forgotten stays so"

    @pytest.mark.long
    def test_what_was_forgotten_stays_so_and_the_prefix_stays_warm(self, llama: LlamaCpp, listening: Listening) -> None:
        messages = [INSTRUCTIONS, *self.history(30), QUESTION]
        *pieces, usage = llama.generate(messages)
        assert isinstance(usage, Usage)
        assert usage.input_tokens is not None
        assert usage.input_tokens <= 512 - 16
        asked = len(listening.requests)
        list(llama.generate([*messages, Message("assistant", text(pieces)), QUESTION]))
        assert len(listening.requests) == asked + 1
        assert listening.cached > 100

    def test_another_conversation_starts_with_all_of_its_history(self, llama: LlamaCpp, listening: Listening) -> None:
        listening.brief = True
        list(llama.generate([INSTRUCTIONS, *self.history(30), QUESTION]))
        other = [INSTRUCTIONS, Message("user", "Hello!"), Message("assistant", "Hello."), QUESTION]
        list(llama.generate(other))
        assert len(listening.requests[-1]["messages"]) == 4

    def test_a_message_that_does_not_fit_alone_is_refused_with_the_mend(self, llama: LlamaCpp) -> None:
        with pytest.raises(ContextFullError, match="raise `context`"):
            list(llama.generate([INSTRUCTIONS, Message("user", "one two three " * 400)]))


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    with pytest.raises(OpenOmniError, match="is it a GGUF file"):
        LlamaCpp(str(tmp_path / "no.gguf"))


def test_a_reply_longer_than_the_context_is_refused() -> None:
    with pytest.raises(OpenOmniError, match="must leave room"):
        LlamaCpp(max_tokens=512, context=512)


def test_conforms(llama: LlamaCpp) -> None:
    """Last, for it is closed in the end."""
    conformance("llm", lambda: llama)
