"""A progress bar for work whose size is known, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is (0 while unknown): bytes, of a download."""


@contextmanager
def bar(*, downloads: bool = True) -> Iterator[Progress]:
    """A bar for each thing that is done; where standard error is no terminal, a line when it begins."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(file=sys.stderr)
    amount = (rich.DownloadColumn(), rich.TransferSpeedColumn()) if downloads else (rich.TaskProgressColumn(),)
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *amount, rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, rich.TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=None)
                if not console.is_terminal:
                    size = f" ({total / 1e6:.0f} MB)" if total else ""
                    console.print(f"{what}{size}" if downloads else f"{what} …", highlight=False)
            shown.update(tasks[what], completed=done, total=total or None)

        yield report
