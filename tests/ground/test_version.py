"""Which versions work together, said in one line by whichever side is newer."""

from __future__ import annotations

import pytest

from openomni import installs
from openomni.version import OLDEST, __version__, numbers, too_old, upgrade_line


@pytest.mark.parametrize(
    ("version", "old"), [("", True), ("0.1.0", True), ("0.1.9rc3", True), ("0.2.0", False), ("0.2.1a1+local.3", False)]
)
def test_what_is_of_before_the_promise_is_too_old(version: str, old: bool) -> None:
    assert too_old(version) is old


def test_this_release_works_with_itself_and_is_newer_than_the_last() -> None:
    assert numbers(OLDEST) <= numbers(__version__)
    assert numbers(__version__) > (0, 1, 0)


def test_the_line_says_who_is_to_be_upgraded_and_how() -> None:
    line = upgrade_line("0.1.0", "the agent lab-1", "this server")
    assert line == (
        f"the agent lab-1 is openomni 0.1.0 and too old for this server ({__version__}), "
        f"which needs {OLDEST} or later; upgrade the agent lab-1: {installs.UPGRADE}"
    )
