"""Whether Whisper's short window can be trusted: runaways, fallbacks, words that differ, and time, on real voices.

    python benchmarks/whisper_window.py [FOLDER] [--model tiny.en] [--json FILE]

FOLDER holds recordings of one utterance each, in any form that FFmpeg reads. Without it, the prompts of Debian's
package `asterisk-core-sounds-en-g722` (CC-BY-SA) are downloaded with apt-get, once, into the user's cache.

Three ways are run in turn on each utterance, so that whatever else the machine does falls on all of them alike:
faster-whisper's own full window, the component's short window with its guards, and a short window (one second beyond
the speech) without any guard. A runaway is a text that repeats itself where the full window's does not. Words that
differ are counted against the full window's text, by jiwer after Whisper's English normaliser.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openomni.bench.prompts import debian_prompts
from openomni.components.stt.faster_whisper import FasterWhisper, repeats
from openomni.media import Audio, MediaError


def utterances(folder: Path, shortest: float, longest: float) -> Iterator[tuple[str, Audio]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                audio = Audio.load(path, 16_000)
            except MediaError:
                continue
            if shortest <= audio.duration <= longest:
                yield path.stem, audio


def ways(component: FasterWhisper) -> dict[str, Callable[[Audio], tuple[str, bool]]]:
    """Name → transcribes, and says whether the fallback was taken."""
    whisper = component._model

    def stock(audio: Audio) -> tuple[str, bool]:
        segments, _ = whisper.transcribe(audio.samples, language="en", beam_size=1, temperature=0.0)
        return " ".join(segment.text.strip() for segment in segments), False

    def guarded(audio: Audio) -> tuple[str, bool]:
        transcript = component.transcribe(audio)
        return transcript.text, bool(transcript.diagnostics.get("fallback", False))

    def unguarded(audio: Audio) -> tuple[str, bool]:
        tokenizer = component._tokenizer("en")
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        features = whisper.encode(component._features(audio.samples, audio.duration + 1.0))
        tokens = whisper.model.generate(features, [prompt], beam_size=1)[0].sequences_ids[0]
        return tokenizer.decode([token for token in tokens if token < tokenizer.eot]).strip(), False

    return {"full": stock, "short": guarded, "unguarded": unguarded}


def measure(spoken: list[tuple[str, Audio]], component: FasterWhisper) -> dict[str, list[tuple[str, bool, float]]]:
    run = ways(component)
    results: dict[str, list[tuple[str, bool, float]]] = {name: [] for name in run}
    for _, audio in [spoken[0], *spoken]:
        for name, transcribe in run.items():
            started = time.perf_counter()
            text, fallback = transcribe(audio)
            results[name].append((text, fallback, time.perf_counter() - started))
    return {name: found[1:] for name, found in results.items()}  # the first one warmed up


def figures(results: dict[str, list[tuple[str, bool, float]]]) -> dict[str, float]:
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    full = [text for text, _, _ in results["full"]]
    references = [normalise(text) for text in full]
    found: dict[str, float] = {"utterances": len(full)}
    for name, rows in results.items():
        times = sorted(seconds for _, _, seconds in rows)
        found[f"{name}_mean_s"] = statistics.fmean(times)
        found[f"{name}_p50_s"] = statistics.median(times)
        found[f"{name}_p95_s"] = times[int(0.95 * (len(times) - 1))]
        if name != "full":
            told = [normalise(text) for text, _, _ in rows]
            pairs = [(one, other) for one, other in zip(references, told, strict=True) if one]
            found[f"{name}_words_that_differ"] = jiwer.wer([p[0] for p in pairs], [p[1] for p in pairs])
            found[f"{name}_runaways"] = sum(
                repeats(row[0]) and not repeats(one) for row, one in zip(rows, full, strict=True)
            )
    found["fallbacks"] = sum(fallback for _, fallback, _ in results["short"])
    found["fallback_rate"] = found["fallbacks"] / len(full)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--shortest", type=float, default=1.2, help="seconds; what is shorter is left out")
    parser.add_argument("--longest", type=float, default=28.0, help="seconds; what is longer is left out")
    parser.add_argument("--count", type=int, default=120, help="utterances, spread evenly over the folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.folder:
        spoken = list(utterances(options.folder, options.shortest, options.longest))
    else:
        spoken = list(utterances(debian_prompts(), options.shortest, options.longest))
    if not spoken:
        parser.error("the folder holds no recording of a fitting length")
    spoken = spoken[:: max(len(spoken) // options.count, 1)][: options.count]
    component = FasterWhisper(options.model)
    results = measure(spoken, component)
    found = figures(results)
    found["mean_duration_s"] = statistics.fmean(audio.duration for _, audio in spoken)
    for name, value in found.items():
        print(f"{name:28} {value:.4g}")
    for (name, _), (text, fallback, _), (full, _, _) in zip(spoken, results["short"], results["full"], strict=True):
        if fallback or (repeats(text) and not repeats(full)):
            print(f"{'fallback' if fallback else 'runaway'}: {name}: {text[:80]!r}, full window: {full[:80]!r}")
    if options.json:
        settings: dict[str, Any] = {"model": options.model, "shortest": options.shortest, "longest": options.longest}
        report = {
            "figures": found,
            "machine": {"cpu": platform.processor() or platform.machine()},
            "settings": settings,
        }
        options.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
