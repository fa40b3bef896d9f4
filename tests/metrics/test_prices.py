"""A table of prices is checked, unit by unit, before anything is counted by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from openomni.errors import WrongUsage
from openomni.metrics import prices


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"prices": {"stt:openai": {"minutes in": 1}}}, "unknown unit 'minutes in'; did you mean 'minute in'?"),
        ({"prices": {"llm:openai": {"1M input tokens": "cheap"}}}, "'cheap' is no price"),
        ({"prices": {"llm:openai": {"1M input tokens": -1}}}, "0 or more"),
        ({"prices": {"llm:openai": {"1M input tokens": float("nan")}}}, "is no price"),
        ({"prices": {"llm:openai": {"1M input tokens": True}}}, "is no price"),
        ({"prices": {"openai": {}}}, "write KIND:NAME"),
        ({"prices": {"lm:openai": {}}}, "unknown kind 'lm'; did you mean 'llm'?"),
        ({"prices": {}}, "prices: write 1 to"),
        ({"prices": {"llm:openai": 3}}, "write units with a price each"),
        ({"currency": "euro", "prices": {"llm:openai": {}}}, "three letters"),
        ({"price": {}}, "the keys currency and prices"),
        ([], "the keys currency and prices"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_its_place(content: Any, line: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(WrongUsage) as refused:
        prices.load(file)
    assert line in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_the_tables_of_the_documentation_are_right() -> None:
    table = str(prices.__doc__).partition("::\n")[2]
    assert prices.checked(yaml.safe_load(table)).currency == "USD"
