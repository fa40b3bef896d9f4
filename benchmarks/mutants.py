"""Do the tests notice? Makes small faults in the sources, one at a time, and runs the tests of the folder against each.

    .venv/bin/python benchmarks/mutants.py --count 60 --seed 1 --json mutants.json

A mutant is a copy of the tree in which one expression or statement is another: a comparison turned round, a number one
higher, a condition inverted, a statement left out. It is found when a test of its folder fails (or hangs). Those that
survive are printed with their line: each deserves a test, or a sentence why not. The seed says which are made.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parents[1]
SOURCES = Path("src/openomni")
GROUND = "ground"
"""The folder of the tests of what lies at the top of the package."""
BROWSERS = ("e2e", "pages")
"""Folders of tests that are no source file's own."""
PATIENCE_S = 900.0

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPPOSITE: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass
class Mutant:
    """What stands at a place instead; `found` by the test that failed, or None."""

    file: str
    line: int
    before: str
    after: str
    found: str | None = None
    seconds: float = 0.0


def mutants(file: Path) -> Iterator[tuple[ast.AST, str]]:
    """Every small fault that could be made in a file: the node, and what would stand there instead."""
    tree = ast.parse(file.read_text())
    for node in _code(tree):
        other: ast.AST | None = None
        match node:
            case ast.Compare(left, [op], comparators) if type(op) in _TURNED:
                other = ast.Compare(left, [_TURNED[type(op)]()], comparators)
            case ast.BoolOp(op, values):
                other = ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            case ast.BinOp(left, op, right) if type(op) in _OPPOSITE and not _is_text(left) and not _is_text(right):
                other = ast.BinOp(left, _OPPOSITE[type(op)](), right)
            case ast.UnaryOp(ast.Not(), operand):
                other = operand
            case ast.Constant(bool() as value):
                other = ast.Constant(not value)
            case ast.Constant(int() | float() as value):
                other = ast.Constant(value + 1)
            case ast.If(test):
                yield test, f"not ({ast.unparse(test)})"
            case ast.Expr(ast.Call() | ast.Await()) | ast.AugAssign():
                other = ast.Pass()
            case ast.Return(ast.expr() as value) if not _is_none(value):
                other = ast.Return(None)
        if other is not None:
            yield node, ast.unparse(other) if isinstance(other, ast.stmt) else f"({ast.unparse(other)})"


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """What runs: no annotation, no docstring, no f-string, nothing that is only logged, raised or declared."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Expr(ast.Constant()) | ast.JoinedStr() | ast.Raise() | ast.Import() | ast.ImportFrom():
                continue
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("log")))):
                continue
            case ast.If(ast.Name("TYPE_CHECKING")):
                continue
            case ast.AnnAssign(value=value):
                if value is not None:
                    yield from _code(ast.Expression(value))
                continue
            case ast.arg():
                continue
        if isinstance(child, (ast.expr, ast.stmt)):
            yield child
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inner in (child.args, *child.body):
                yield from _code(ast.Module([inner], []) if isinstance(inner, ast.stmt) else inner)
        else:
            yield from _code(child)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, (ast.JoinedStr, ast.List, ast.Tuple)) or (
        isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
    )


def chosen(count: int, seed: int) -> list[tuple[Path, ast.AST, str]]:
    """So many, spread over the files by how much there is in each."""
    everything = [
        (file, node, after)
        for file in sorted((ROOT / SOURCES).rglob("*.py"))
        if "migrations" not in file.parts
        for node, after in mutants(file)
    ]
    return random.Random(seed).sample(everything, count)


def survivors(report: Path) -> list[tuple[Path, ast.AST, str]]:
    """Those of an earlier run that no test had found, where their code is still there."""
    found = []
    for told in (Mutant(**each) for each in json.loads(report.read_text())):
        file = ROOT / told.file
        text = file.read_text() if file.is_file() else ""
        same = [
            (abs(node.lineno - told.line), node)  # type: ignore[attr-defined]
            for node, after in (mutants(file) if text else ())
            if after == told.after and ast.get_source_segment(text, node) == told.before
        ]
        if told.found is None and same:
            found.append((file, min(same, key=lambda each: each[0])[1], told.after))
    return found


def tests_of(file: Path) -> list[str]:
    """The tests of a source file's folder, and those elsewhere that have its name, or its room's; the named first."""
    parts = file.relative_to(ROOT / SOURCES).with_suffix("").parts
    tests = ROOT / "tests"
    folder = tests / parts[0] if len(parts) > 1 and (tests / parts[0]).is_dir() else tests / GROUND
    named = [
        test
        for name in reversed(parts)
        for test in sorted(tests.glob(f"*/test_{name}.py"))
        if test.parent.name not in BROWSERS or test.parent == folder
    ]
    return [str(test.relative_to(ROOT)) for test in dict.fromkeys([*named, *sorted(folder.glob("test_*.py"))])]


def with_instead(text: str, node: ast.AST, after: str) -> str:
    """The text with `after` where the node stood."""
    lines = text.encode().splitlines(keepends=True)
    begin, end = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
    head = b"".join(lines[:begin]) + lines[begin][: node.col_offset]  # type: ignore[attr-defined]
    tail = lines[end][node.end_col_offset :] + b"".join(lines[end + 1 :])  # type: ignore[attr-defined]
    return (head + after.encode() + tail).decode()


def tried(tree: Path, file: Path, node: ast.AST, after: str) -> Mutant:
    text = file.read_text()
    before = ast.get_source_segment(text, node) or ""
    mutant = Mutant(str(file.relative_to(ROOT)), node.lineno, before, after)  # type: ignore[attr-defined]
    tests = tests_of(file)
    if not tests:
        return mutant
    there = tree / file.relative_to(ROOT)
    there.write_text(with_instead(text, node, after))
    began = time.monotonic()
    # A folder of its own for what tests write: runs beside each other would clear away each other's.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", "-rfE",
               "--basetemp", str(tree.with_name(f"{tree.name}-tmp")), *tests]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    process = subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=PATIENCE_S)
        if process.returncode:
            failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
            mutant.found = failed[0][:200] if failed else said.strip()[-200:]
    except subprocess.TimeoutExpired:
        mutant.found = f"hangs for {PATIENCE_S:g} s"
        os.killpg(process.pid, signal.SIGKILL)  # with all that its tests had started
        process.communicate()
    finally:
        there.write_text(text)
    mutant.seconds = time.monotonic() - began
    return mutant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants of files whose path holds this text")
    parser.add_argument("--again", type=Path, metavar="JSON", help="those that survived a run of before")
    parser.add_argument("--jobs", type=int, default=2, help="so many at once")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    drawn = survivors(given.again) if given.again else chosen(given.count, given.seed)
    wanted = [each for each in enumerate(drawn, 1) if given.only in str(each[1][0])]
    results: dict[int, Mutant] = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        trees: Queue[Path] = Queue()
        for number in range(given.jobs):
            trees.put(tree := Path(folder) / f"tree-{number}")
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache"))

        def one(each: tuple[int, tuple[Path, ast.AST, str]]) -> tuple[int, Mutant]:
            tree = trees.get()
            try:
                return each[0], tried(tree, *each[1])
            finally:
                trees.put(tree)

        for number, mutant in pool.map(one, wanted):
            results[number] = mutant
            verdict = "found   " if mutant.found else "SURVIVES"
            change = f"{' '.join(mutant.before.split())[:60]!r} → {mutant.after[:60]!r}"
            print(f"{number:3} {verdict} {mutant.seconds:5.0f} s  {mutant.file}:{mutant.line}  {change}", flush=True)
            if mutant.found:
                print(f"      {mutant.found}", flush=True)
            if given.json:
                given.json.write_text(json.dumps([asdict(each) for each in results.values()], indent=1))
    found = sum(mutant.found is not None for mutant in results.values())
    print(f"{found} of {len(results)} found")


if __name__ == "__main__":
    main()
