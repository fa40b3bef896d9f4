"""What figures are told with."""

from __future__ import annotations

import json

import pytest

from openomni.bench import machine


def test_it_says_what_the_figures_were_measured_on() -> None:
    described = machine.describe()
    assert json.loads(json.dumps(described)) == described
    assert {"processor", "cores", "memory_bytes", "gflops", "system", "python", "openomni"} == set(described)


def test_how_fast_it_is_is_counted_from_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on 0.1 s at each look, two products fit in, and 0.4 s are over at the end."""
    ticks = iter(range(100))
    monkeypatch.setattr(machine.clock, "now", lambda: next(ticks) * 0.1)
    monkeypatch.setattr(machine, "TIMED_SECONDS", 0.25)
    assert machine.gflops() == pytest.approx(2 * (2 * machine.SIZE**3) / 0.4 / 1e9)
