"""`openomni`: the map of commands. Each lives in a module of its own that is imported only when it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from .. import installs, proxies
from ..errors import OpenOmniError, WrongUsage, nearest
from ..version import __version__
from . import access, printing

if TYPE_CHECKING:
    from typer import Typer

COMMANDS: Mapping[str, str] = {
    "demo": "Ask the bundled spoken question through all parts, in a temporary folder.",
    "up": "All in one: gateway, API with its pages, bus and one agent.",
    "api": "The API alone: records, orchestrates, REST and admin.",
    "gateway": "The live door alone: WebSockets in front of the bus.",
    "agent": "A worker that offers components and does tasks.",
    "listen": "Capture from a microphone or camera, or replay a file.",
    "respond": "Play what is said, on a speaker or into a folder.",
    "turns": "List and show turns, and run them again.",
    "dataset": "Inputs: imported, made of turns, derived, listed and exported.",
    "experiment": "Run datasets through pipelines, and compare what came of it.",
    "campaign": "Who annotates what: begun, followed, exported.",
    "report": "Tables of what was recorded: latency, cost.",
    "pipelines": "List, show and check pipelines.",
    "components": "List components, and check your own.",
    "metrics": "List metrics, check your own, and state what people are asked.",
    "models": "List, pull and check models.",
    "doctor": "Say what is slow, missing or misconfigured, and the mend.",
    "bench": "The benchmarks of this project.",
}
"""Name → what it does; the module `cli/<name>.py` has a Typer `app`."""

INSTALLS: Mapping[str, str] = {
    "api": "api", "gateway": "api", "agent": "agent", "listen": "listener", "respond": "responder",
}  # fmt: skip
"""Which extra a command is installed with, where that is not all of it."""


def print_map() -> None:
    width = max(map(len, COMMANDS))
    print(f"OpenOmni {__version__}: build, run, measure and compare multimodal conversational agents.\n")
    print("Usage: openomni COMMAND [OPTIONS]      openomni COMMAND --help for its options\n")
    for name, about in COMMANDS.items():
        print(f"  {name:<{width}}  {about}")


def run(arguments: Sequence[str]) -> None:
    """Runs one command; raises `OpenOmniError` for what a user can mend, SystemExit with the exit code."""
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print_map()
        return
    name, *rest = arguments
    if name == "--version":
        print(f"openomni {__version__}")
        return
    if name not in COMMANDS:
        raise WrongUsage(f"there is no command {name!r}; {nearest(name, COMMANDS)} (`openomni --help` is the map)")
    try:
        app: Typer = import_module(f".{name}", __package__).app
        _call(app, rest or (["--help"] if app.info.no_args_is_help is True else []), f"openomni {name}")
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        if not installs.brings(module):
            raise
        line = installs.line(INSTALLS.get(name, "all"))
        raise OpenOmniError(f"`openomni {name}` needs {module}, which is not installed; {line}") from None


def _call(app: Typer, arguments: Sequence[str], name: str) -> None:
    """A command, with one line rather than a box for what Typer finds wrong with its arguments."""
    import typer

    try:
        code = typer.main.get_command(app).main(list(arguments), name, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Click's own exception, or the copy of it that later Typers bring.
        if not hasattr(error, "format_message"):
            raise
        asked = getattr(getattr(error, "ctx", None), "command_path", name)
        raise WrongUsage(f"{' '.join(error.format_message().split())} (see `{asked} --help`)") from None
    sys.exit(code if isinstance(code, int) else 0)


def main() -> None:
    try:
        _main()
    except SystemExit as leaving:
        worker = sys.modules.get("openomni.components.worker")
        if worker is not None:
            worker.leave(leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None))
        raise


def _main() -> None:
    # httpx has a command of its own, and would import rich and pygments for it whenever it is imported.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    printing.never_fail()
    proxies.keep_loopback_direct()
    try:
        access.read_token_file(*(sys.argv[1:] or [""]))
        run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        printing.reader_went()
        sys.exit(141)  # as a shell has it for SIGPIPE
    except OpenOmniError as error:
        print(f"openomni: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
