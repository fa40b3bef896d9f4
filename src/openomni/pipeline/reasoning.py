"""Tells what a model thinks aloud from what it answers, while it still writes.

Reasoning stands between tags, which streaming may cut anywhere. Some templates write the opening tag themselves, so
that a reply begins as reasoning and only its closing tag comes: what was taken for the reply until then is taken back,
and replies of that model begin as reasoning from then on, as long as the process lives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = (
    "think", "thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad", "inner_monologue",
    "seed:think",
)  # fmt: skip
_OTHERS = {
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel>thought": "<channel|>",
    "<|channel|>analysis<|message|>": "<|end|>",
}
# Words of the protocol around a reply, which are neither.
_AROUND = ("<|start|>assistant", "<|channel|>final<|message|>", "<|return|>")
_OPENING = [f"<{name}>" for name in _NAMES] + list(_OTHERS)
_CLOSING = [f"</{name}>" for name in _NAMES] + list(_OTHERS.values())
_ALL = (*_OPENING, *_CLOSING, *_AROUND)

_ATTRIBUTES = 80
"""Letters that an opening tag may carry beside its name."""
_NAMED = "|".join(map(re.escape, _NAMES))
_TAG = re.compile(
    rf"(?P<opening><(?:{_NAMED})(?:\s[^<>]{{0,{_ATTRIBUTES}}})?>|{'|'.join(map(re.escape, _OTHERS))})"
    rf"|(?P<closing></(?:{_NAMED})>|{'|'.join(map(re.escape, _OTHERS.values()))})"
    rf"|{'|'.join(map(re.escape, _AROUND))}",
    re.IGNORECASE,
)
_GROWING = re.compile(rf"<(?:{_NAMED})\s[^<>]{{0,{_ATTRIBUTES}}}$", re.IGNORECASE)
_BEGINNINGS = re.compile("[<[◁]")
_REACH = max(map(len, _ALL)) + _ATTRIBUTES

_begin_inside: set[str] = set()
"""Models whose templates open the reasoning, as far as this process has seen."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """What a piece adds to the reply (`said`) and to the reasoning. `takes_back`: all that was said before it is
    reasoning, too."""

    said: str = ""
    thought: str = ""
    takes_back: bool = False


class Reasoning:
    """Takes one reply as it comes. `model`: whose, so that what is learned of its template is known next time. `first`:
    it is known that its template opens the reasoning."""

    def __init__(self, model: str, first: bool = False) -> None:
        self._model = model
        self._held = ""
        self._before = ""
        self._inside = first or model in _begin_inside
        self._assumed: list[str] | None = [] if self._inside and not first else None
        self._seen = self._said = False

    def feed(self, text: str) -> Sorted:
        text, self._held = self._held + text, ""
        if not _BEGINNINGS.search(text):
            self._before = text[-1:] or self._before
            return self._without_tag(text)
        said: list[str] = []
        thought: list[str] = []
        takes_back, at = False, 0
        for tag in _TAG.finditer(text):
            # In code it is spoken of.
            if (text[tag.start() - 1] if tag.start() else self._before) == "`":
                continue
            self._put(text[at : tag.start()], said, thought)
            at = tag.end()
            takes_back |= self._pass(tag, said, thought)
        end = _growing(text, at)
        self._put(text[at:end], said, thought)
        self._held = text[end:]
        self._before = text[end - 1] if end else self._before
        return Sorted("".join(said), "".join(thought), takes_back)

    def _without_tag(self, text: str) -> Sorted:
        said: list[str] = []
        thought: list[str] = []
        self._put(text, said, thought)
        return Sorted("".join(said), "".join(thought))

    def rest(self) -> Sorted:
        """What is left when the reply is over."""
        left, self._held = self._without_tag(self._held), ""
        if self._assumed is None:
            return left
        # It never closed: this once, or from now on, it answers without reasoning, and nothing is swallowed.
        _begin_inside.discard(self._model)
        said, self._assumed = "".join(self._assumed), None
        return Sorted(said)

    def _pass(self, tag: re.Match[str], said: list[str], thought: list[str]) -> bool:
        """Goes past a tag. Whether it shows that what was said before was none."""
        if tag["opening"]:
            if self._assumed is not None:
                self._assumed = None if not "".join(self._assumed).strip() else self._assumed
                if self._assumed is None:
                    _begin_inside.discard(self._model)
            elif self._inside and self._seen:
                thought.append(tag.group())
            self._inside = self._seen = True
            return False
        if not tag["closing"]:
            return False
        takes_back = not self._inside and not self._seen
        if takes_back:
            thought[:] = said
            said.clear()
            self._said = False
            _begin_inside.add(self._model)
        elif self._assumed is not None:
            thought.extend(self._assumed)
            self._assumed = None
        self._inside, self._seen = False, True
        return takes_back

    def _put(self, text: str, said: list[str], thought: list[str]) -> None:
        if self._assumed is not None:
            self._assumed.append(text)
        elif self._inside:
            thought.append(text)
        else:
            if self._seen and not self._said:
                text = text.lstrip()
            self._said = self._said or bool(text)
            said.append(text)


def _growing(text: str, start: int) -> int:
    """Where a tag may have begun that is not whole yet; the end of the text where none has."""
    for beginning in _BEGINNINGS.finditer(text, max(start, len(text) - _REACH)):
        tail = text[beginning.start() :].lower()
        if any(tag.startswith(tail) for tag in _ALL) or _GROWING.match(tail):
            return beginning.start()
    return len(text)
