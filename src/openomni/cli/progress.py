"""A progress bar for work whose size is known, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is."""


@contextmanager
def bar() -> Iterator[Progress]:
    """A bar for each thing that is done; where standard error is no terminal, a line when it begins."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(file=sys.stderr)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, rich.TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=None)
                if not console.is_terminal:
                    console.print(f"{what} …", highlight=False)
            shown.update(tasks[what], completed=done, total=total or None)

        yield report
