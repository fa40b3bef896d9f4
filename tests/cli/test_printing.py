"""Output that knows none of our letters, and a reader that goes: neither ends a command."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from openomni.cli import printing


def printed(text: str, encoding: str) -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        printing.never_fail()
        print(text, end="", flush=True)
        return raw.getvalue().decode(encoding)


def test_signs_have_a_meaning_without_their_glyph() -> None:
    assert printed("✓ well · ✗ … → “é” ▏█─ ﬁ 日", "ascii") == '+ well - x ... -> "e" ##- fi ?'
    assert printed("✓ é · …", "latin-1") == "+ é · ..."
    assert printed("✓ 日", "utf-8") == "✓ 日"


@given(st.text())
def test_any_text_is_printed(text: str) -> None:
    for encoding in ("ascii", "latin-1", "utf-8", "cp1252", "utf-16"):
        printed(text, encoding)


def test_what_rich_draws_is_printed_too() -> None:
    with pytest.MonkeyPatch.context() as patch:
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, "ascii")
        patch.setattr(sys, "stdout", out)
        printing.never_fail()
        Console(force_terminal=True).rule("■ voice to voice")
        out.flush()
        assert b"# voice to voice" in raw.getvalue()


def command(*arguments: str, **environment: str) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in environment.items()),
            sys.executable, "-m", "openomni.cli.main", *arguments]  # fmt: skip


def test_help_comes_in_latin_1() -> None:
    done = subprocess.run(
        command("bench", "--help", PYTHONIOENCODING="latin-1"), capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_went_is_no_fault() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command("--help"), stdout=write, stderr=subprocess.PIPE, check=False, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
