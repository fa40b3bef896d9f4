"""Language models in GGUF form by llama.cpp, in this process, through xllamacpp.

One slot with one conversation's prefix kept in it: a turn costs the prefill of what is new. llama.cpp tells of its
progress only between batches, so small batches are what makes a cancel quick.
"""

from __future__ import annotations

import math
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any, Literal

from msgspec import Meta

from ... import models
from ...errors import OpenOmniError
from ...events import Message, Text, Usage
from .. import cores
from ..registry import component
from .requantised import as_mixed

BATCH = 32
"""Tokens of a prompt between two looks at whether the call was cancelled: a quarter of a second on two slow cores. On
a CPU, longer batches are no faster (measured from 16 to 128)."""
ROOM = 4
"""When history is forgotten, a quarter of the context is freed at once: forgetting costs the warm prefix."""
OTHER_PREFIXES_MIB = 256
"""Memory for the prefixes of other sessions that take turns in the slot."""
GO_ON = "Go on."
"""What the person would have said where the model is to speak again."""
LOOKED_AT = 50
"""The likeliest next tokens, among which those that end a message are counted."""
HEAD = 16 * 1024 * 1024
"""Bytes at the beginning of a file that hold what it says of itself, its vocabulary included."""
TEMPLATE = 16 * 1024
_ENDS = re.compile(r"\s*[.?!]")
_LAST_MARKS = re.compile(r"[\s.,;:!?…—–-]+$")
PENALISED = 256
"""The last tokens in which repetition is looked for."""
STAND_BACK = 0.5
"""Seconds that the model stands back for the voice, at most, before it writes on."""


class ContextFullError(OpenOmniError):
    """What has to be answered does not fit into the model's context."""


@component("llm", "llama-cpp", install="openomni[local]", requires=("xllamacpp", "gguf"))
class LlamaCpp:
    """A GGUF model by llama.cpp (MIT), on the CPU or whatever the installed xllamacpp was built for.

    Args:
        model: A name of the catalogue (`openomni models list`), the path of a `.gguf`, or
            `hf://organisation/repository/file.gguf`.
        max_tokens: Tokens after which a reply is cut off.
        temperature: 0 always takes the likeliest token; small models ramble above 0.5.
        top_p: Share of the likelihood that is drawn from.
        seed: The same seed and messages give the same reply.
        repetition_penalty: How much less likely a token gets by standing in the last 256; 1 leaves it as it is.
        context: Tokens that fit in: instructions, history and reply. The oldest history is forgotten when it is full.
        threads: Threads on the CPU; 0 takes one per physical core to read the prompt, and one less to write the reply.
        gpu_layers: Layers that go to a GPU, where xllamacpp was built for one; -1 is all of them.
        weights: `mixed` turns weights in Q4_1 into Q4_0 and Q8_0, once: most CPUs answer sooner then.
    """

    slots = 1

    def __init__(
        self,
        model: str = "smollm2-135m-instruct",
        max_tokens: Annotated[int, Meta(ge=1)] = 96,
        temperature: Annotated[float, Meta(ge=0, le=2)] = 0.2,
        top_p: Annotated[float, Meta(gt=0, le=1)] = 0.9,
        seed: Annotated[int, Meta(ge=0)] = 0,
        repetition_penalty: Annotated[float, Meta(ge=1, le=2)] = 1.0,
        context: Annotated[int, Meta(ge=256)] = 4096,
        threads: Annotated[int, Meta(ge=0)] = 0,
        gpu_layers: Annotated[int, Meta(ge=-1)] = -1,
        weights: Literal["file", "mixed"] = "file",
    ) -> None:
        if max_tokens >= context:
            raise OpenOmniError(f"max_tokens ({max_tokens}) must leave room in the context of {context} tokens")
        path = models.locate(model, "llama-cpp")
        if weights == "mixed":
            path = as_mixed(path)
        self._server = _serve(str(path), context, threads, gpu_layers)
        self._chatml = _speaks_chatml(path)
        self._sampling = {"temperature": temperature, "top_p": top_p, "seed": seed}
        self._repetition_penalty = repetition_penalty
        self._max_tokens = max_tokens
        self._context = context
        self._call: _Call | None = None
        self._one_at_a_time = threading.Lock()
        self._forgotten: tuple[Message, ...] = ()

    def generate(self, messages: Sequence[Message]) -> Iterator[str | Text | Usage]:
        """The reply as it is written, and last what it consumed."""
        with self._one_at_a_time:
            yield from self._answer(tuple(messages), self._max_tokens)

    def prepare(self, messages: Sequence[Message]) -> None:
        """Reads instructions and history into the slot, so that the next turn prefills its own words alone."""
        with self._one_at_a_time:
            for _ in self._answer(tuple(messages), 1):
                pass

    def ending(self, messages: Sequence[Message]) -> float | None:
        """The probability, 0…1, that the last message ends where it does, as far as a text can tell; None where the
        model's prompts are not written in ChatML. What it reads stays in the slot for the reply."""
        if not self._chatml:
            return None
        told = "".join(f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n" for message in messages[:-1])
        # What marks a recogniser put at the end does not count: it puts them behind every pause.
        prompt = f"{told}<|im_start|>{messages[-1].role}\n{_LAST_MARKS.sub('', messages[-1].content.rstrip())}"
        request = {"prompt": prompt, "n_predict": 1, "n_probs": LOOKED_AT, "stream": True, "return_progress": True,
                   "cache_prompt": True, "temperature": 0}  # fmt: skip
        with self._one_at_a_time:
            call = self._call = _Call(request, self._context - self._max_tokens)
            try:
                for event in call.events(self._server and self._server.handle_completions):
                    for choice in event.get("choices", ()):
                        if seen := (choice.get("logprobs") or {}).get("content"):
                            return sum(
                                math.exp(each["logprob"])
                                for each in seen[0]["top_logprobs"]
                                if ends_message(each["token"])
                            )
            finally:
                self._call = None
        return None

    def cancel(self) -> None:
        """Ends the call that runs, within about a batch. Returns at once."""
        call = self._call
        if call is not None:
            call.cancelled = True

    def warm_up(self) -> None:
        self.prepare([Message("user", "Hello")])

    def close(self) -> None:
        self.cancel()
        with self._one_at_a_time:
            self._server = None

    def _answer(self, messages: tuple[Message, ...], max_tokens: int) -> Iterator[str | Text | Usage]:
        kept = self._recall(messages)
        while True:
            call = _Call(self._request(kept, max_tokens), self._context - max_tokens)
            self._call = call
            try:
                for event in call.events(self._server and self._server.handle_chat_completions):
                    yield from call.read(event)
            finally:
                self._call = None
            if call.too_long is None:
                return
            kept = self._forget(messages, kept, call.too_long)

    def _request(self, messages: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        told = [{"role": message.role, "content": message.content} for message in messages]
        if told[-1]["role"] == "assistant":
            # Else llama.cpp would write the last reply on, and refuse two of them.
            told.append({"role": "user", "content": GO_ON})
        return {
            "messages": told,
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": True,
            "return_progress": True,
            # Small models fall into what they said before.
            "repeat_penalty": self._repetition_penalty,
            "repeat_last_n": PENALISED,
            **self._sampling,
        }

    def _recall(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """What was forgotten of this conversation stays forgotten: the prefix in the slot then still fits."""
        told = [message for message in messages if message.role != "system"]
        if self._forgotten and tuple(told[: len(self._forgotten)]) == self._forgotten:
            return _without(messages, len(self._forgotten))
        self._forgotten = ()
        return messages

    def _forget(self, messages: tuple[Message, ...], kept: tuple[Message, ...], tokens: int) -> tuple[Message, ...]:
        """Leaves out the oldest of what was said, until the rest fits with room for some turns more."""
        told = [message for message in kept if message.role != "system"]
        if len(told) <= 1:
            raise ContextFullError(
                f"instructions and message take {tokens} tokens, the context holds {self._context} with the reply; "
                "shorten them or raise `context`"
            )
        per_character = tokens / max(sum(len(message.content) for message in kept), 1)
        excess = tokens - self._context + self._max_tokens + self._context / ROOM
        count = 0
        while excess > 0 and count < len(told) - 1:
            excess -= len(told[count].content) * per_character
            count += 1
        self._forgotten = (*self._forgotten, *told[:count])
        return _without(messages, len(self._forgotten))


class _Call:
    """One request. It runs in a thread of its own, because llama.cpp calls back rather than being asked."""

    def __init__(self, request: dict[str, Any], most: int) -> None:
        self.cancelled = False
        self.too_long: int | None = None
        """Tokens of the prompt, when they are more than `most`."""
        self._request = request
        self._most = most
        self._events: SimpleQueue[dict[str, Any] | BaseException | None] = SimpleQueue()

    def events(self, complete: Callable[..., object] | None) -> Iterator[dict[str, Any]]:
        """What llama.cpp says while it completes. Raises OpenOmniError where the server is gone."""
        if complete is None:
            raise OpenOmniError("the model was closed")
        thread = threading.Thread(target=self._drive, args=(complete,), name="llama.cpp")
        thread.start()
        try:
            while (event := self._events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.cancelled = True
            thread.join()

    def _drive(self, complete: Callable[..., object]) -> None:
        try:
            complete(self._request, self._take)
        except Exception as error:
            self._events.put(error)
        finally:
            self._events.put(None)

    def _take(self, event: dict[str, Any]) -> bool:
        """Called by llama.cpp; true ends the request."""
        tokens = event.get("prompt_progress", {}).get("total", 0)
        if tokens > self._most:
            self.too_long = tokens
            return True
        self._events.put(event)
        if not self.cancelled:
            cores.VOICE.give_way(STAND_BACK)
        return self.cancelled

    def read(self, event: dict[str, Any]) -> Iterator[str | Text | Usage]:
        """The text in it, or what was consumed. Raises OpenOmniError for what llama.cpp refuses."""
        if self.cancelled:
            return
        if error := event.get("error"):
            if error.get("type") != "exceed_context_size_error":
                raise OpenOmniError(f"llama.cpp refused the request: {error.get('message', error)}")
            self.too_long = error["n_prompt_tokens"]
        for choice in event.get("choices", ()):
            if thought := choice["delta"].get("reasoning_content"):
                yield Text("", thought)
            if text := choice["delta"].get("content"):
                yield text
        if used := event.get("usage"):
            cached = (used.get("prompt_tokens_details") or {}).get("cached_tokens")
            yield Usage(
                input_tokens=used["prompt_tokens"], output_tokens=used["completion_tokens"], cached_tokens=cached
            )


def _without(messages: tuple[Message, ...], count: int) -> tuple[Message, ...]:
    """The messages without the first `count` that are no instructions."""
    kept = []
    for message in messages:
        if message.role == "system" or count <= 0:
            kept.append(message)
        else:
            count -= 1
    return tuple(kept)


def ends_message(token: str) -> bool:
    """Whether a next token is a mark, or the break, that ends a message."""
    return bool(_ENDS.match(token)) or token.startswith("<|im_end|>") or not token.strip()


def _speaks_chatml(path: Path) -> bool:
    """By the template in the head of the file."""
    with path.open("rb") as file:
        _, _, template = file.read(HEAD).partition(b"tokenizer.chat_template")
    return b"<|im_start|>" in template[:TEMPLATE]


def _serve(path: str, context: int, threads: int, gpu_layers: int) -> Any:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = context
    parameters.n_parallel = 1
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.n_gpu_layers = gpu_layers
    parameters.cache_ram_mib = OTHER_PREFIXES_MIB
    parameters.cpuparams_batch.n_threads = cores.threads_for(threads)
    # Its threads meet after every operation, so one that has to wait for its core stops them all. Measured on two cores
    # with something else at work: one thread writes 60 tokens/s, two write 3 to 100, and nobody knows when.
    parameters.cpuparams.n_threads = threads or max(cores.threads_for(0) - 1, 1)
    parameters.verbosity = -1
    # It also listens on a port of the loopback interface, which nobody here needs: nobody knows the key.
    parameters.api_keys = [secrets.token_urlsafe(32)]
    parameters.endpoint_slots = parameters.ui = False
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise OpenOmniError(f"llama.cpp can't load {path} ({error}); is it a GGUF file?") from None
