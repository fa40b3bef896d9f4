"""The guide on metrics is followed word for word, as far as it needs no server: files written, commands typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from openomni.cli import main
from openomni.metrics import prices

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "metrics.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[tuple[str, str, str]]:
    """Each fenced block: its language, the file that the prose before it says to write, and its content."""
    page, end = PAGE.read_text(), 0
    for block in BLOCK.finditer(page):
        files = re.findall(r"Write `([\w./]+)`:", page[end : block.start()])
        yield block[1], files[-1] if files else "", block[2]
        end = block.end()


def typed(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "openomni"
    with pytest.raises(SystemExit) as ending:
        main.run(words)
    assert not ending.value.code


@pytest.mark.long
def test_every_step_works_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said, checked = "", 0
    for language, file, content in blocks():
        if file:
            (tmp_path / file).write_text(content)
        elif language == "sh" and "metrics" in content.split()[1]:
            typed(content)
            said = capsys.readouterr().out
        elif language == "text":
            for line in content.splitlines():
                assert line in said.splitlines(), f"{line!r} is not in:\n{said}"
                checked += 1
        elif language == "yaml":
            assert prices.checked(yaml.safe_load(content))
    assert checked > 10
