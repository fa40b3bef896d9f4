"""From what a language model writes to what a voice is given, in one turn: its reasoning is told from its reply, and
the reply is cut into clauses that remember how they were written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from ..events import Text
from .channel import Arrival, Flow
from .clauses import Clause, ClauseCutter
from .reasoning import Reasoning, Sorted
from .task import TaskTrace


class Writing:
    def __init__(self) -> None:
        self.clauses: list[Clause] = []
        """What the voice was given so far."""
        self._reasoning: dict[str, Reasoning] = {}
        self._pieces = self._taken_back = 0
        """Of the reply: those that went to the voice, and how many of the first of them turned out to be none."""

    def sort(self, task: TaskTrace, text: Text) -> Sorted:
        """What a piece adds to the reply of a task and what to its reasoning."""
        if task.task_id not in self._reasoning:
            self._reasoning[task.task_id] = Reasoning(task.stage.model, task.stage.framework.reasons_first)
        piece = self._reasoning[task.task_id].feed(text.text)
        return self._noted(replace(piece, thought=text.reasoning + piece.thought))

    def rest(self, task: TaskTrace) -> Sorted:
        """What is left when the task wrote all."""
        reasoning = self._reasoning.get(task.task_id)
        return Sorted() if reasoning is None else self._noted(reasoning.rest())

    def _noted(self, piece: Sorted) -> Sorted:
        if piece.takes_back:
            self._taken_back = self._pieces
            for clause in self.clauses:
                clause.written, clause.ends = "", ()
        self._pieces += bool(piece.said)
        return piece

    async def spoken(self, reply: Flow) -> AsyncIterator[tuple[Clause, Arrival]]:
        """Each clause for the voice, with the piece that made it whole."""
        cutter, taken_back, read, arrival = ClauseCutter(), 0, 0, None
        async for arrival in reply:
            assert isinstance(arrival.value, Text)
            if self._taken_back > taken_back:
                cutter, taken_back = ClauseCutter(), self._taken_back
            read += 1
            for clause in cutter.feed(arrival.value.text) if read > taken_back else ():
                self.clauses.append(clause)
                yield clause, arrival
        for clause in cutter.rest() if self._taken_back == taken_back else ():
            assert arrival is not None
            self.clauses.append(clause)
            yield clause, arrival
