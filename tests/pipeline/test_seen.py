"""What comes twice counts once, as far as it is remembered."""

from __future__ import annotations

from openomni.pipeline.seen import ONCE, Seen


def test_an_item_is_new_once_and_again_when_it_was_forgotten() -> None:
    seen = Seen()
    assert [seen.is_new("a"), seen.is_new("a"), seen.is_new("b")] == [True, False, True]
    seen.forget("a")
    seen.forget("nothing")
    assert seen.is_new("a")


def test_a_request_is_known_by_the_turn_that_answers_it() -> None:
    seen = Seen()
    seen.answers("a", "turn")
    assert seen.is_new("a"), "an item of that name is something else"
    assert [seen.turn_of("a"), seen.turn_of("b"), seen.turn_of(None)] == ["turn", None, None]


def test_the_newest_are_remembered() -> None:
    seen = Seen()
    for number in range(ONCE + 1):
        seen.answers(str(number), f"turn {number}")
    assert seen.turn_of("0") is None
    assert seen.turn_of("1") == "turn 1"
    assert seen.turn_of(str(ONCE)) == f"turn {ONCE}"
