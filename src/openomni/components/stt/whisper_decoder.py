"""What writes Whisper's text: CTranslate2, or, greedily on the CPU, ONNX Runtime, which is faster there.

The latter tries a draft at once: while a person speaks, one transcript is mostly the beginning of the next. A draft
changes nothing in the text, for each of its tokens is checked; twelve of them take the time of three or four.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import OpenOmniError
from ...lazy import Lazy
from .ct2_weights import Weights
from .whisper_graph import Bits, Graphs

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

FIRST_STAMP_AT_MOST = 50
"""Timestamps of 20 ms after which no text may begin."""


@dataclass(slots=True)
class Written:
    """What one decoding gave. `logits`: of each token, and of what ended the text; each an array or what NumPy makes
    one of, of shape (vocabulary,). CTranslate2 has applied the rules to them, this module has not."""

    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    """Of all tokens together, what ended the text included."""
    no_speech: float = 0.0
    logits: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Marks:
    """The tokens that are no text."""

    end: int
    no_timestamps: int
    no_speech: int

    @property
    def first_stamp(self) -> int:
        return self.no_timestamps + 1


class CTranslate2Decoder:
    """By beams of any size, on any device; drafts don't help it, and once begun it writes to the end."""

    def __init__(self, model: Any, beam_size: int) -> None:
        self._model, self._beam_size = model, beam_size

    def write(self, encoded: Any, prompt: Sequence[int], most: int, *_: Any) -> Written:
        """As `GreedyDecoder.write`."""
        greedy = self._beam_size == 1
        result = self._model.generate(
            encoded,
            [list(prompt)],
            beam_size=self._beam_size,
            max_length=2 * most,  # half of it is for what came before
            return_scores=True,
            return_no_speech_prob=True,
            # Of a beam, nobody could tell which hypothesis each belongs to.
            return_logits_vocab=greedy,
        )[0]
        tokens = result.sequences_ids[0]
        return Written(
            tokens, result.scores[0] * len(tokens), result.no_speech_prob, result.logits[0] if greedy else []
        )


class GreedyDecoder:
    """Of the model in `folder`, as converted for CTranslate2. Raises OpenOmniError for one that it can't run."""

    def __init__(self, folder: Path, marks: Marks, bits: Bits, threads: int) -> None:
        weights = Weights(folder / "model.bin")
        try:
            self._graphs = graphs = Graphs(weights, bits)
            self._memory, self._step = (_session(graph, threads) for graph in (graphs.memory(), graphs.step()))
            self._embeddings = weights.array("decoder/embeddings/weight").astype(np.float16)
            self._positions = weights.array("decoder/position_encodings/encodings")
        except KeyError as error:
            raise OpenOmniError(f"its decoder has no {error}") from None
        config = json.loads((folder / "config.json").read_text())
        self._never = np.array(sorted({*config.get("suppress_ids", ()), marks.no_timestamps}), np.int64)
        self._marks = marks
        self._names = [f"{what}{layer}" for layer in range(graphs.layers) for what in "kv"]
        self._past = [f"p{name}" for name in self._names]

    def write(
        self,
        encoded: Any,
        prompt: Sequence[int],
        most: int,
        draft: Sequence[int] = (),
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Written:
        """At most `most` tokens, the one that ends the text not counted, for what CTranslate2 encoded, (1, frames,
        width). `draft`: what they may turn out to be. Raises OpenOmniError once `cancelled`."""
        heard = self._memory.run(None, {"encoded": np.asarray(encoded)[0].astype(np.float32, copy=False)})
        found = dict(zip(self._names, heard, strict=True))
        nothing = np.zeros((self._graphs.heads, 0, self._graphs.width // self._graphs.heads), np.float32)
        past: list[Any] = [nothing] * len(self._past)
        written, tokens, guessed = Written(), list(prompt), list(draft[:most])
        here = 0  # positions whose keys and values are kept
        while True:
            if cancelled():
                raise OpenOmniError("the call was cancelled")
            given = [*tokens[here:], *guessed]
            # A row by itself takes another way through the matrices than one of several, and comes out a little
            # otherwise: a draft would change the text where two tokens are about as likely.
            rows_given = given if len(given) > 1 else 2 * given
            *past, logits = self._step.run(
                None, {**self._inputs(rows_given, here), **found, **dict(zip(self._past, past, strict=True))}
            )
            if here == 0:
                written.no_speech = _share(logits[0], self._marks.no_speech)
            here, rows = len(tokens), logits[len(given) - len(guessed) - 1 : len(given)]
            for row, guess in zip(rows, [*guessed, None], strict=True):
                token, logprob = self._choose(row, written.tokens)
                written.logprob += logprob
                written.logits.append(row)
                if token == self._marks.end or len(written.tokens) == most:
                    return written
                written.tokens.append(token)
                tokens.append(token)
                if token != guess:
                    break
                here += 1
            past, guessed = [each[:, :here] for each in past], []

    def _inputs(self, tokens: Sequence[int], here: int) -> dict[str, Any]:
        """Of the tokens from position `here` on. Raises IndexError where there are no more positions."""
        count = len(tokens)
        embedded = self._embeddings[tokens].astype(np.float32) + self._positions[np.arange(here, here + count)]
        mask = np.zeros((count, here + count), np.float32)
        mask[:, here:] = np.triu(np.full((count, count), -1e9, np.float32), 1)
        return {"embedded": embedded, "mask": mask}

    def _choose(self, logits: Any, before: Sequence[int]) -> tuple[int, float]:
        """The likeliest token that the rules allow, and its log probability among those."""
        scores, marks = logits.copy(), self._marks
        scores[self._never] = -np.inf
        text, stamps = scores[: marks.first_stamp], scores[marks.first_stamp :]
        if not before:
            text[:] = -np.inf
            stamps[FIRST_STAMP_AT_MOST + 1 :] = -np.inf
        else:
            last = next(token for token in reversed(before) if token >= marks.first_stamp)
            stamps[: last - marks.first_stamp] = -np.inf
            if before[-1] < marks.first_stamp:
                stamps[last - marks.first_stamp] = -np.inf  # what was said takes time
                self._prefer_stamps(text, stamps)
            elif before[-2:-1] and before[-2] < marks.first_stamp:  # one that ends: another or the end follows
                text[: marks.end] = -np.inf
                self._prefer_stamps(text, stamps)
            else:
                stamps[:] = -np.inf
        token = int(scores.argmax())
        return token, -float(np.log(np.exp(scores - scores[token]).sum()))

    def _prefer_stamps(self, text: Any, stamps: Any) -> None:
        """A timestamp is next where all of them together are likelier than any word."""
        likeliest = stamps.max()
        if likeliest > -np.inf and likeliest + np.log(np.exp(stamps - likeliest).sum()) > text.max():
            text[:] = -np.inf


Decoder = CTranslate2Decoder | GreedyDecoder


def _share(logits: Any, token: int) -> float:
    likely = np.exp(logits - logits.max())
    return float(likely[token] / likely.sum())


def _session(graph: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores, too
    options.enable_mem_pattern = False  # each token has shapes of its own
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
