"""One stage of one turn as it is done: its attempts, their stamps, and the spans that the partition is made of.

Every stamp here is on the host's clock; a runner maps those of another agent before it writes them.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .. import clock
from ..components.kinds import KINDS
from ..events import Documents, Emotion, Sound, Speaker, Text, ToolCall, Transcript, Usage, Value
from ..records import AttemptRecord, StageRecord, Status
from ..trace import Span
from .meter import Meter, total
from .spec import StageSpec

MOST_REASONING = 60_000
"""Letters of a model's reasoning that its task's record keeps."""


@dataclass(slots=True)
class AttemptTrace:
    """One try of a task on one agent.

    `opened`: the host chose the agent; `claimed`: a slot was taken; `received`: the component's side had the first
    input; `model_started`, `first_output`, `ended`: inside the component. `load_s`, `transfer_in_s`,
    `transfer_out_s` and `model_s` (time spent inside the component, waiting for input left out) are seconds.
    """

    number: int
    agent: str
    opened: float
    claimed: float | None = None
    received: float | None = None
    model_started: float | None = None
    first_output: float | None = None
    ended: float | None = None
    load_s: float = 0.0
    model_s: float | None = None
    transfer_in_s: float = 0.0
    transfer_out_s: float = 0.0
    status: Status = "started"
    reason: str = ""
    agent_lost: bool = False
    build: str = ""
    seed: int | None = None
    meter: Meter = field(default_factory=Meter)

    @property
    def seconds(self) -> float:
        """How long it took, as far as it came."""
        return 0.0 if self.ended is None else max(self.ended - self.opened, 0.0)

    @property
    def lost_s(self) -> float:
        """What an agent took that went before any of its output was used."""
        return self.seconds if self.agent_lost and self.first_output is None else 0.0

    @property
    def own_model_s(self) -> float | None:
        """What the model took, as far as it is known. An agent that failed, or was lost in mid-output, tells no times:
        all since it was claimed counts."""
        if self.model_s is not None:
            return self.model_s
        if self.ended is None or self.lost_s:
            return None
        since = self.claimed if self.model_started is None and self.status == "failed" else self.model_started
        return None if since is None else self.ended - since

    def fail(self, reason: str, agent_lost: bool = False) -> None:
        self.finish("failed", reason)
        self.agent_lost = agent_lost

    def finish(self, status: Status, reason: str = "") -> None:
        if self.status == "started":
            self.status, self.reason = status, reason
            if self.ended is None:
                self.ended = clock.now()


@dataclass(slots=True)
class TaskTrace:
    """One stage of one turn, in one revision of it. `ready`: its first input was there.

    `released_by` is the task whose output made it ready, at `released_at`; None for a stage that takes what the
    person said.
    """

    stage: StageSpec
    revision: int = 0
    asked: dict[str, str] = field(default_factory=dict)
    """What the session asks of its component: a `voice`, a `language`."""
    declined: dict[str, str] = field(default_factory=dict)
    """What of that the component does not have, and why: it worked as the pipeline has it."""
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    ready: float | None = None
    released_by: TaskTrace | None = None
    released_at: float | None = None
    cleared: float | None = None
    """It had what it needs before, and was allowed to begin then."""
    read_from: float | None = None
    """Its model read what was said from then until it was allowed to begin, to say how likely the sentence is over."""
    first_arrival: float | None = None
    """The first output was with the host."""
    ended: float | None = None
    status: Status = "pending"
    reason: str = ""
    attempts: list[AttemptTrace] = field(default_factory=list)
    output: dict[str, object] = field(default_factory=dict)
    called: bool = False
    """It called a tool."""
    usage: Usage | None = None
    """What all its calls consumed: a voice is called once a clause."""
    _samples: Any = field(default_factory=hashlib.sha256)
    """Of its sound, PCM16."""
    _by_clause: dict[int, Any] = field(default_factory=dict)
    """The same of each clause that it spoke."""

    def ask(self, **options: str) -> None:
        """What its kind knows of `options`, less the empty ones."""
        known = KINDS[self.stage.kind].options
        self.asked = {name: value for name, value in options.items() if value and name in known}

    def begin(self, agent: str) -> AttemptTrace:
        """Opens the next attempt."""
        attempt = AttemptTrace(len(self.attempts) + 1, agent, clock.now())
        self.attempts.append(attempt)
        self.status = "started"
        return attempt

    def note(self, value: Value, at: float) -> None:
        """Keeps what is small and readable of an output."""
        thinks = isinstance(value, Text) and not value.text
        if self.first_arrival is None and not isinstance(value, Usage) and not thinks:
            self.first_arrival = at
        if self.attempts:
            self.attempts[-1].meter.gave(value)
        match value:
            case Transcript():
                self.output |= {
                    "text": value.text,
                    "final": value.final,
                    **_some(language=value.language, ending=value.ending),
                }
                if value.diagnostics:
                    self.output["diagnostics"] = value.diagnostics
            case Text():
                if value.text:
                    self.output["text"] = str(self.output.get("text", "")) + value.text
                if value.reasoning:
                    self._keep_reasoning(value.reasoning)
            case Sound():
                self._note_samples(value)
                self.output["seconds"] = round(_number(self.output.get("seconds")) + value.audio.duration, 6)
                self.output["rate"] = value.audio.rate
            case Emotion():
                self.output |= _some(
                    overall=value.overall, text=value.text, audio=value.audio, video=value.video, label=value.label
                )
            case Documents():
                self.output["documents"] = [
                    {"text": each.text, "score": each.score, "source": each.source} for each in value.documents
                ]
            case Speaker():
                self.output |= _some(label=value.label, confidence=value.confidence)
            case ToolCall():
                self.called = True
                called = self.output.setdefault("tool_calls", [])
                assert isinstance(called, list)
                called.append({"name": value.name, "arguments": value.arguments})
            case Usage():
                self.usage = value if self.usage is None else self.usage + value
                self.output["usage"] = _some(**msgspec.structs.asdict(self.usage))
            case _:
                pass

    def _note_samples(self, sound: Sound) -> None:
        samples = sound.audio.pcm16()
        self._samples.update(samples)
        self._by_clause.setdefault(sound.clause, hashlib.sha256()).update(samples)
        self.output["sha256"] = self._samples.hexdigest()
        self.output["sounds"] = [each.hexdigest() for each in self._by_clause.values()]

    def note_clause(self, text: str) -> None:
        """Keeps what a voice was given."""
        clauses = self.output.setdefault("clauses", [])
        assert isinstance(clauses, list)
        clauses.append(text)

    @property
    def shortfall(self) -> str:
        """Why what it gave may be less than was hoped for, though nothing failed."""
        replied = "reasoning" not in self.output or self.output.get("text") or self.called
        return "" if replied else "it gave its reasoning and no reply"

    def take_back(self) -> None:
        """What it was thought to have written was its reasoning."""
        self._keep_reasoning(str(self.output.pop("text", "")))
        self.first_arrival = None

    def _keep_reasoning(self, text: str) -> None:
        """As much of it as a record should hold; how much there was is told."""
        kept = str(self.output.get("reasoning", ""))
        if kept or text:
            self.output["reasoning"] = kept + text[: max(MOST_REASONING - len(kept), 0)]
            letters = len(text) + int(_number(self.output.get("reasoning_letters")) or len(kept))
            if letters > MOST_REASONING:
                self.output["reasoning_letters"] = letters

    def finish(self, status: Status, reason: str = "") -> None:
        """Settles the task once; its open attempt ends the same way."""
        if self.status in ("pending", "started"):
            self.status, self.reason, self.ended = status, reason, clock.now()
        if self.attempts:
            self.attempts[-1].finish(status, reason)

    def supersede(self) -> None:
        """The person spoke on: whatever it gave is not wanted any more."""
        self.finish("superseded")
        if self.status == "completed":
            self.status = "superseded"

    @property
    def last(self) -> AttemptTrace | None:
        """The attempt that counts."""
        return self.attempts[-1] if self.attempts else None

    @property
    def first_used(self) -> AttemptTrace | None:
        """The attempt whose output was used first; the last one where none was. A voice that is lost in mid-reply has
        its next attempt go on with it."""
        return next((each for each in self.attempts if each.first_output is not None), self.last)

    def spans(self) -> list[Span]:
        """What the task did, each span released by the one before it; the first by what made the task ready."""
        attempt = self.first_used
        if self.ready is None or attempt is None:
            return []
        me, stage = self.task_id, self.stage.name
        spans = [*self._release_spans()]
        cursor, after = self.ready, spans[-1].name if spans else "end_of_turn"

        def add(what: str, end: float | None) -> None:
            nonlocal cursor, after
            if end is not None and end > cursor:
                name = f"{me}.{what}{len(spans)}"
                spans.append(Span(name, what, cursor, end, stage, after))  # type: ignore[arg-type]
                cursor, after = end, name

        for earlier in self.attempts[: attempt.number - 1]:
            add("queue", earlier.opened)
            add("lost", earlier.ended)
        add("queue", attempt.claimed)
        if attempt.transfer_in_s > 0:
            add("transfer", cursor + attempt.transfer_in_s)
        if attempt.load_s > 0:
            add("load", cursor + attempt.load_s)
        # What lies between here and the model's start belongs to nobody: it stays a gap, and shows as residue.
        if attempt.model_started is not None:
            cursor = max(cursor, attempt.model_started)
        name = f"{me}.model"
        spans.append(Span(name, "model", cursor, max(attempt.ended or self.ended or cursor, cursor), stage, after))
        return spans

    def _release_spans(self) -> list[Span]:
        """From the producer's output to this task's first input: its way to the host, then waiting to be whole."""
        producer, at = self.released_by, self.released_at
        if producer is None or at is None or self.ready is None:
            return []
        attempt = producer.first_used
        way = attempt.transfer_out_s if attempt else 0.0
        arrived = Span(
            f"{self.task_id}.arrival", "transfer", at - way, at, producer.stage.name, f"{producer.task_id}.model"
        )
        if self.cleared is not None:
            # Nothing is awaited of its input any more: somebody else still had the word.
            reads = self.read_from if self.read_from is not None else self.ready
            floor = Span(f"{self.task_id}.floor", "queue", at, max(reads, at), "host", arrived.name)
            if self.read_from is None:
                return [arrived, floor]
            reading = Span(f"{self.task_id}.reading", "model", floor.end, self.ready, self.stage.name, floor.name)
            return [arrived, floor, reading]
        return [arrived, Span(f"{self.task_id}.whole", "aggregation", at, self.ready, self.stage.name, arrived.name)]

    def record(self, origin: float) -> StageRecord:
        """As it is kept; seconds count from `origin`, the turn's last user speech sample."""

        def since(stamp: float | None) -> float | None:
            return None if stamp is None else round(stamp - origin, 6)

        def between(start: float | None, end: float | None) -> float | None:
            return None if start is None or end is None else round(max(end - start, 0.0), 6)

        attempt = self.last
        models = [known for each in self.attempts if (known := each.own_model_s) is not None]
        return StageRecord(
            task_id=self.task_id,
            kind=self.stage.kind,
            component=self.stage.component,
            revision=self.revision,
            agent=attempt.agent if attempt else "",
            status=self.status,
            reason=self.reason,
            queue_s=self._waited(),
            lost_s=round(sum(each.lost_s for each in self.attempts), 6) if attempt else None,
            transfer_s=round(attempt.transfer_in_s + attempt.transfer_out_s, 6) if attempt else None,
            load_s=round(attempt.load_s, 6) if attempt else None,
            model_s=round(sum(models), 6) if models else None,
            ttfb_s=between(self.ready, self.first_arrival),
            started_s=since(self.ready),
            ended_s=since(self.ended),
            output=self.output | {name: kept for name in ("asked", "declined") if (kept := getattr(self, name))},
            attempts=[
                AttemptRecord(
                    number=each.number,
                    agent=each.agent,
                    status=each.status,
                    reason=each.reason,
                    started_s=since(each.opened),
                    ended_s=since(each.ended),
                    build=each.build,
                    seed=each.seed,
                    usage=each.meter.record(self.stage.kind),
                )
                for each in self.attempts
            ],
            build=attempt.build if attempt else "",
            seed=attempt.seed if attempt else None,
            usage=total(each.meter.record(self.stage.kind) for each in self.attempts),
        )

    def _waited(self) -> float | None:
        """From ready to the attempt that counts, less what earlier ones took; and, where nobody was left to try it,
        from the last one's end to the task's. What was never claimed waited to its end, for a slot or an agent."""
        if self.ready is None:
            return None
        attempt, failed = self.last, self.status == "failed"
        if attempt is None or attempt.claimed is None:
            return round(max(self.ended - self.ready, 0.0), 6) if failed and self.ended is not None else None
        waited = attempt.claimed - self.ready - sum(each.seconds for each in self.attempts[:-1])
        if failed and attempt.agent_lost and self.ended is not None and attempt.ended is not None:
            waited += self.ended - attempt.ended
        return round(max(waited, 0.0), 6)


def _some(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) else 0.0
