"""The tutorial «your first component» is followed word for word: its files written, its commands typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from openomni.version import numbers

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "first-component.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[tuple[str, str, str]]:
    """Each fenced block: its language, the last file named in the prose before it, and its content."""
    page, end = PAGE.read_text(), 0
    for block in BLOCK.finditer(page):
        files = re.findall(r"`([\w./]+\.(?:py|toml|yaml))`:", page[end : block.start()])
        yield block[1], files[-1] if files else "", block[2]
        end = block.end()


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `pip install` goes to a folder of this test and needs no network."""
    # Asked for, not imported: setuptools refuses where the library's own distutils was imported before it.
    if numbers(metadata.version("setuptools")) < (77,):
        pytest.skip("setuptools 77, which builds the package, is missing")
    site = tmp_path / "site"
    commands = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the other way round: 0 builds without isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def typed(command: str, folder: Path, shell: dict[str, str]) -> str:
    # What the tutorial's reader sets for one command must not hide where this test installs to.
    command = command.replace("PYTHONPATH=parrot ", 'PYTHONPATH="parrot:$PYTHONPATH" ')
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=shell, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 2), done.stdout + done.stderr  # 2: the tutorial's own example of a wrong call
    return done.stdout + done.stderr


def test_component_is_fifteen_lines_or_fewer() -> None:
    code = next(content for language, file, content in blocks() if file == "parrot/parrot.py")
    written = [line for line in code.splitlines() if line.strip()]
    assert len(written) <= 15


@pytest.mark.long
def test_every_step_works_word_for_word(tmp_path: Path, shell: dict[str, str]) -> None:
    (tmp_path / "parrot").mkdir()
    said = ""
    for language, file, content in blocks():
        if language == "sh":
            # The demo downloads models and starts every part; its own tests run it.
            said = "" if "openomni demo" in content else typed(content, tmp_path, shell)
        elif language == "text":
            for line in content.splitlines():
                assert re.search(re.escape(line).replace("…", ".*"), said), f"{line!r} is not in:\n{said}"
        else:
            assert file, f"no file is named before:\n{content}"
            (tmp_path / file).write_text(content)
    assert (tmp_path / "site" / "parrot.py").is_file()
