"""`openomni experiment`: a dataset through several pipelines, and what came of it."""

from __future__ import annotations

import typer

from . import experiment_compare

app = typer.Typer(
    help="Run datasets through pipelines, and compare what came of it.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
experiment_compare.register(app)
