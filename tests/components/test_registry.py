"""Components are found by name, by entry point and by import path; what is wrong with one never hides the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from openomni import component
from openomni.components import registry
from openomni.errors import OpenOmniError, WrongUsage


@component("llm", "shouting", install="shouter[gpu]", requires=("json", "no_such_module"))
class Shouting:
    """Shouts."""

    def __init__(self, loudness: float = 1.0) -> None:
        self.loudness = loudness

    def generate(self, messages: object) -> str:
        return "HELLO"


@component("llm", "fragile")
class Fragile:
    """Breaks."""

    def __init__(self, how: str = "") -> None:
        if how == "import":
            import no_such_runtime  # noqa: F401
        if how == "ours":
            raise OpenOmniError("there is no key; set KEY")
        raise ValueError("bad checkpoint\nof two lines")

    def generate(self, messages: object) -> str:
        return ""


def refusal(kind: str, name: str, **parameters: object) -> str:
    with pytest.raises(OpenOmniError) as caught:
        registry.build(kind, name, parameters)
    return str(caught.value)


def test_ours_are_listed_without_importing_a_runtime() -> None:
    heavy = "('openai', 'onnxruntime', 'ctranslate2', 'faster_whisper', 'xllamacpp', 'piper', 'av')"
    code = f"""
        import sys
        from openomni.components.registry import registered
        found = registered()
        assert ("stt", "openai") in found and ("tts", "simulated") in found, found
        print([name for name in {heavy} if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_info_says_package_version_schema_and_what_is_missing() -> None:
    ours = registry.find("llm", "openai")
    assert (ours.package, ours.streaming, ours.missing) == ("openomni", False, ())
    assert ours.version
    shouting = registry.find("llm", "shouting")
    assert shouting.description == "Shouts."
    assert shouting.missing == ("no_such_module",)
    assert shouting.mend == "pip install 'shouter[gpu]'"
    assert shouting.schema["properties"]["loudness"] == {"type": "number", "default": 1.0}


def test_registered_can_be_asked_for_one_kind() -> None:
    assert {kind for kind, _ in registry.registered("tts")} == {"tts"}
    with pytest.raises(WrongUsage, match="unknown kind 'ttz'; did you mean 'tts'"):
        registry.registered("ttz")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("tts", "simulatd", "unknown tts component 'simulatd'; did you mean 'simulated'?"),
        ("stt", "openomni.components.simulated:SimulatedVoice", "is a tts component, not stt"),
        ("stt", "subprocess:Popen", "Popen is no component; put @component(kind, 'a-name') on the class"),
        ("stt", "no_such_package.asr:Mine", "there is no module 'no_such_package.asr' here; install its package"),
        ("stt", "openomni.media:Nothing", "the module 'openomni.media' has no class 'Nothing'"),
        ("stt", "openomni.media:AUDIBLE", "openomni.media:AUDIBLE is no class"),
        ("llm", "shouting", "llm:shouting needs the Python module 'no_such_module', which is not installed; "
         "pip install 'shouter[gpu]'"),
        ("llm", "fragile", "llm:fragile could not be built: ValueError: bad checkpoint of two lines"),
    ],
)  # fmt: skip
def test_what_can_not_be_had_is_told_with_the_mend(kind: str, name: str, words: str) -> None:
    assert words in refusal(kind, name)


def test_constructor_that_lacks_a_module_or_a_key_is_told_with_the_mend() -> None:
    assert "needs the Python module 'no_such_runtime'" in refusal("llm", "fragile", how="import")
    assert refusal("llm", "fragile", how="ours") == "llm:fragile: there is no key; set KEY"


def test_wrong_parameters_are_refused_before_anything_is_built() -> None:
    assert "did you mean 'loudness'" in refusal("llm", "shouting", loudnes=2)


def test_import_path_stands_for_a_name() -> None:
    built = registry.build("tts", "openomni.components.simulated:SimulatedVoice", {"seconds": 2})
    assert type(built).__name__ == "SimulatedVoice"


def test_declaration_refuses_what_can_not_be_a_component() -> None:
    with pytest.raises(WrongUsage, match="unknown kind 'sst'; did you mean 'stt'"):
        component("sst", "x")
    with pytest.raises(WrongUsage, match="'My ASR' is no component name"):
        component("stt", "My ASR")
    with pytest.raises(WrongUsage, match=r"is no stt component; it lacks the method transcribe\(audio: Audio\)"):
        component("stt", "deaf")(type("Deaf", (), {}))


def test_subclass_is_no_component_by_inheritance() -> None:
    assert registry.declaration(type("Sub", (Shouting,), {})) is None


# ---- packages of others, each installed as pip would ---------------------------------------------------------


def package(folder: Path, name: str, value: str, code: str) -> None:
    (folder / f"{name}.py").write_text(dedent(code))
    info = folder / f"{name}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[openomni.components]\n{name} = {value}\n")


def in_process_with(folder: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WRITER = """
    from openomni import component

    @component("llm", "{name}")
    class {cls}:
        "Writes."
        def generate(self, messages):
            return "hi"
"""


def test_packages_offer_modules_classes_and_mappings(tmp_path: Path) -> None:
    package(tmp_path, "one", "one", WRITER.format(name="first", cls="First"))
    package(tmp_path, "two", "two:Second", WRITER.format(name="second", cls="Second"))
    package(tmp_path, "three", "three:OFFERS", 'OFFERS = {"llm:third": "three_heavy:Third"}')
    (tmp_path / "three_heavy.py").write_text(dedent(WRITER.format(name="third", cls="Third")))
    said = in_process_with(
        tmp_path,
        """
        import sys
        from openomni.components import registry
        registry.find("llm", "first")
        print("three_heavy" in sys.modules)
        for name in ("first", "second", "third"):
            info = registry.find("llm", name)
            print(info.name, info.package, info.version, registry.build("llm", name).generate([]))
        """,
    )
    assert said.splitlines() == ["False", "first one 2.5 hi", "second two 2.5 hi", "third three_heavy  hi"]


def test_broken_package_is_a_line_and_the_others_are_found(tmp_path: Path) -> None:
    package(tmp_path, "broken", "broken", "import no_such_dependency")
    package(tmp_path, "empty", "empty", "")
    package(tmp_path, "misnamed", "misnamed", WRITER.format(name="x", cls="X").replace('"llm"', '"lln"'))
    package(tmp_path, "working", "working", WRITER.format(name="works", cls="Works"))
    said = in_process_with(
        tmp_path,
        """
        from openomni.components import registry
        print(("llm", "works") in registry.registered())
        print(*registry.problems(), sep="\\n")
        """,
    )
    assert said.startswith("True")
    assert "the components of broken (broken) do not load: ModuleNotFoundError: No module named" in said
    assert "empty offers no component at empty; put @component on its classes" in said
    assert "unknown kind 'lln'; did you mean 'llm'?" in said


def test_name_that_is_taken_stays_with_its_first_owner(tmp_path: Path) -> None:
    package(tmp_path, "thief", "thief", WRITER.format(name="simulated", cls="Thief"))
    said = in_process_with(
        tmp_path,
        """
        from openomni.components import registry
        print(registry.find("llm", "simulated").package)
        print(*registry.problems(), sep="\\n")
        """,
    )
    assert said.startswith("openomni\n")
    assert "thief offers llm:simulated, which is taken; rename it, or use its import path" in said
