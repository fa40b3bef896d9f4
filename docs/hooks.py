"""Pages that are made from the code at build time: commands, components, REST, evaluation, the words of the record."""

from __future__ import annotations

import inspect
import os
import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import msgspec
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pages = {
        "reference/commands.md": commands,
        "reference/components.md": components,
        "reference/evaluation-functions.md": evaluation,
        "reference/metrics.md": metrics,
        "reference/pipelines.md": pipelines,
        "reference/records.md": records,
        "reference/rest.md": rest,
    }
    for path, make in pages.items():
        files.append(File.generated(config, path, content="\n".join(make()) + "\n"))
    return files


def commands() -> Iterator[str]:
    import typer

    from openomni.cli.main import COMMANDS

    yield "# Commands\n\nMade from the code. `openomni --help` prints the map.\n"
    for name, about in COMMANDS.items():
        yield f"## openomni {name}\n\n{about}\n"
        app = import_module(f"openomni.cli.{name}").app
        yield from _command(typer.main.get_command(app), f"openomni {name}")


def _command(command: Any, name: str) -> Iterator[str]:
    rows = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        names = ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
        default = parameter.default
        shown = "" if default in (None, False, "", ()) or callable(default) else f"`{default}`"
        variable = f"`{parameter.envvar}`" if getattr(parameter, "envvar", None) else ""
        rows.append((names, shown, variable, getattr(parameter, "help", "") or ""))
    if rows:
        yield from _table(("option", "default", "variable", ""), rows)
    for sub in getattr(command, "commands", {}).values():
        yield f"### {name} {sub.name}\n\n{_first_line(sub.help or '')}\n"
        yield from _command(sub, f"{name} {sub.name}")


def components() -> Iterator[str]:
    from openomni.components import registry
    from openomni.components.kinds import KINDS

    yield "# Components\n\nMade from the code: what comes along, with its parameters.\n"
    for kind in KINDS.values():
        yield f"## {kind.name}\n\n{kind.about}. An author writes `{kind.signature}`.\n"
        for info in registry.registered(kind.name).values():
            yield f"### {kind.name}: {info.name}\n\n{_first_line(info.description)}\n"
            rows = [
                (
                    f"`{name}`",
                    f"`{rule['default']!r}`" if "default" in rule else "required",
                    rule.get("description", ""),
                )
                for name, rule in info.schema.get("properties", {}).items()
            ]
            if rows:
                yield from _table(("parameter", "default", ""), rows)


def metrics() -> Iterator[str]:
    from openomni.metrics import registry
    from openomni.metrics.prices import UNITS

    yield "# Metrics\n\nMade from the code: what programs say of runs. [Metrics](../guides/metrics.md) shows how to use"
    yield "them and how to write your own.\n"
    for info in registry.registered().values():
        yield f"## {info.name}\n\n{_first_line(info.description)}\n"
        better = f"{info.better} is better" if info.better else "neither way is better"
        yield f"Takes a {info.takes}; {info.unit or 'no unit'}; {better}; {info.kind}, by {info.statistic}.\n"
        for part in info.description.split("\n\n")[1:]:
            yield f"{part}\n"
        properties = info.schema["properties"].items()
        rows = [(f"`{name}`", f"`{rule.get('default')!r}`", rule.get("description", "")) for name, rule in properties]
        if rows:
            yield from _table(("parameter", "default", ""), rows)
    yield "## Units of a table of prices\n"
    yield from _table(
        ("unit", "of what is counted", "how many"),
        ((f"`{unit}`", what, f"{many:g}") for unit, (what, many) in UNITS.items()),
    )


def pipelines() -> Iterator[str]:
    from openomni.pipeline import spec

    yield "# Pipeline files\n\nMade from the code. [Your first pipeline](../tutorials/first-pipeline.md) shows one.\n"
    yield "## What a stage may say beside its component's parameters\n"
    yield from _struct(spec.Framework)
    yield f"## turn_taking\n\n{_paragraphs(spec.TurnTaking)}\n"
    yield from _struct(spec.TurnTaking)


def records() -> Iterator[str]:
    from openomni import records, trace

    yield "# Records\n\nMade from the code: the JSON of a session, a turn and what they are made of.\n"
    yield f"{_paragraphs(records)}\n"
    for struct in (
        records.TurnRecord, records.StageRecord, records.AttemptRecord, records.TimePointRecord, trace.Part,
        records.SegmentRecord, records.UtteranceRecord, records.AskedRecord, records.ItemRecord, records.SessionRecord,
        records.RecordingRecord,
    ):  # fmt: skip
        yield f"## {struct.__name__}\n\n{_paragraphs(struct)}\n"
        yield from _struct(struct)


def rest() -> Iterator[str]:
    os.environ.setdefault("OPENOMNI_DATA_DIR", tempfile.gettempdir())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openomni.api.settings")
    import django

    django.setup(set_prefix=False)
    from openomni.api.ground.document import ERROR, WHY
    from openomni.api.urls import api

    document = api.get_openapi_schema()
    yield "# REST\n\nMade from the code. A server shows the same at `/api/v1/docs`, with a page to try it.\n"
    yield document["info"]["description"].strip() + "\n"
    yield "## Errors\n\nEvery one is JSON with these fields; `error` is always there.\n"
    fields = ERROR["properties"].items()
    yield from _table(
        ("field", "type", ""), ((f"`{name}`", each["type"], each["description"]) for name, each in fields)
    )
    yield "The status says of which kind it is.\n"
    yield from _table(("status", ""), ((f"`{status}`", why) for status, why in WHY.items()))
    operations = {
        (path.removeprefix("/api/v1"), method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    everywhere = set.intersection(*(set(each["responses"]) for each in operations.values() if "security" in each))
    shown = ", ".join(f"`{status}`" for status in sorted(everywhere))
    yield f"Every operation but `GET /hello` can answer {shown}. What else it can refuse stands in its row below.\n"
    groups: dict[str, list[tuple[str, str, str, str]]] = {}
    for (path, method), operation in operations.items():
        about = _first_line(operation.get("description") or operation.get("summary", ""))
        more = ", ".join(status for status in operation["responses"] if status >= "4" and status not in everywhere)
        groups.setdefault(path.split("/")[1], []).append((f"`{method.upper()}`", f"`{path}`", about, more))
    for name, rows in sorted(groups.items()):
        yield f"## {name}\n"
        yield from _table(("", "path", "", "refuses with"), rows)


def evaluation() -> Iterator[str]:
    yield "# Functions of evaluation\n\nMade from the code of `openomni.evaluation`.\n"
    yield "[Evaluation](evaluation.md) says which is for what.\n"
    for name in ("agreement", "intervals", "errors", "paired", "pairs", "repeats", "text"):
        module = import_module(f"openomni.evaluation.{name}")
        yield f"## {name}\n\n{_paragraphs(module)}\n"
        for called, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and called[0] != "_":
                yield f"### {name}.{called}\n\n```python\n{called}{_signature(function)}\n```\n"
                yield from _sections(_paragraphs(function))


def _signature(function: Any) -> str:
    taken = inspect.signature(function)
    shown = [
        f"{each.name}: {each.annotation}" + (f" = {each.default!r}" if each.default is not each.empty else "")
        for each in taken.parameters.values()
    ]
    return f"({', '.join(shown)}) -> {taken.return_annotation}"


def _sections(documented: str) -> Iterator[str]:
    """A docstring whose arguments, results and errors stand indented under their headings."""
    for part in documented.split("\n\n"):
        head, _, body = part.partition("\n")
        if head not in ("Args:", "Returns:", "Raises:"):
            yield f"{part}\n"
            continue
        text = textwrap.dedent(body)
        if head == "Returns:":
            yield f"*Returns* {' '.join(text.split())}\n"
            continue
        yield f"*{head[:-1]}*\n"
        for item in re.split(r"\n(?=\S)", text):
            names, _, about = item.partition(": ")
            yield f"- `{names}`: {' '.join(about.split())}"
        yield ""


def _struct(struct: type) -> Iterator[str]:
    docs = _field_docs(struct)
    rows = []
    for field in msgspec.structs.fields(struct):
        required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        default = (
            "required" if required else "" if field.default in (msgspec.NODEFAULT, None, "") else repr(field.default)
        )
        rows.append((f"`{field.encode_name}`", default, docs.get(field.name, "")))
    yield from _table(("field", "default", ""), rows)


def _field_docs(struct: type) -> dict[str, str]:
    """The strings that stand under fields."""
    source = inspect.getsource(struct)
    return {
        name: " ".join(words.split()) for name, words in re.findall(r'    (\w+):[^\n]+\n    """(.*?)"""', source, re.S)
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in row)} |"
    yield ""


def _paragraphs(documented: Any) -> str:
    return inspect.cleandoc(documented.__doc__ or "")


def _first_line(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
