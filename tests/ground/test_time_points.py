"""Time points as people write them."""

from __future__ import annotations

import pytest

from openomni.errors import WrongUsage
from openomni.media_file import parse_time_points


def test_they_are_minutes_and_seconds_that_grow() -> None:
    assert parse_time_points("00:04, 01:30,1:00:00") == [4.0, 90.0, 3600.0]
    assert parse_time_points("00:04.5") == [4.5]
    assert parse_time_points("") == []


@pytest.mark.parametrize(
    "text", ["4", "00:61", "0:1,0:0", "00:05,00:04", "a:b", "nan:00", "-1:00", "1:2:3:4", "9999999999:00"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(WrongUsage, match="time points") as error:
        parse_time_points(text)
    assert "\n" not in str(error.value)
