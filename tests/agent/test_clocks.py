"""How far other agents' clocks are, as a host believes it."""

from __future__ import annotations

import pytest

from openomni import clock
from openomni.agent.remote_run import Clocks
from openomni.clock import Offset
from openomni.events import StageAccepted

AT = 100.0
"""Now, on the host's clock."""
TO_GATEWAY = Offset(5.0, 0.001)


def believed(accepted: StageAccepted, wire: float, own: Offset | None = TO_GATEWAY) -> Offset:
    """After a call whose acceptance came `wire` seconds after it was sent."""
    clocks = Clocks(lambda: own)
    with clock.using(lambda: AT):
        clocks.learn("a1", AT - wire, accepted, AT)
        return clocks.offset("a1")


# The agent's clock is 10 s ahead of the host's, the gateway's 5 s: the agent is 5 s ahead of that.
def test_a_quick_call_says_more_than_the_gateway() -> None:
    found = believed(StageAccepted("a1", AT + 9.9999, -5.0, 0.001), wire=0.0002)
    assert found == Offset(pytest.approx(10.0), pytest.approx(0.0001))  # type: ignore[arg-type]


def test_where_a_call_was_slow_to_begin_the_gateway_says_more() -> None:
    found = believed(StageAccepted("a1", AT + 9.998, -5.0, 0.002), wire=0.040)
    assert found == Offset(pytest.approx(10.0), pytest.approx(0.003))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accepted", "own"),
    [
        (StageAccepted("a1", AT + 9.998), TO_GATEWAY),  # an agent of an earlier version says nothing of it
        (StageAccepted("a1", AT + 9.998, -5.0, 0.002), None),
        (StageAccepted("a1", AT + 9.998, -900.0, 0.002), TO_GATEWAY),  # it asked another gateway
    ],
)
def test_else_the_call_is_believed(accepted: StageAccepted, own: Offset | None) -> None:
    found = believed(accepted, 0.040, own)
    assert found == Offset(pytest.approx(10.018), pytest.approx(0.020))  # type: ignore[arg-type]


def test_nothing_is_known_of_an_agent_that_was_never_called() -> None:
    assert Clocks().offset("a1") == Offset()
