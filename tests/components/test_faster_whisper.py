"""Whisper on a short window, and the guards that let it be trusted."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizers

from openomni.components.conformance import conformance
from openomni.components.stt import faster_whisper
from openomni.components.stt.faster_whisper import (
    Decoded,
    FasterWhisper,
    as_transcript,
    before_last_stamp,
    repeats,
    without_loop,
)
from openomni.components.stt.whisper_decoder import Decoder, Written
from openomni.components.stt.whisper_vocabulary import END, GOES_ON, NO_MARK, NOISE, WORD, Vocabulary, kind_of_token
from openomni.errors import Declined, OpenOmniError
from openomni.events import Transcript
from openomni.media import Audio

STAMP = 50_000


def words(transcript: Transcript) -> str:
    return " ".join(re.findall(r"[\w']+", transcript.text.lower()))


def stamp(seconds: float) -> int:
    return STAMP + round(seconds * 50)


class TestGuards:
    def test_what_follows_an_end_stamp_near_the_end_of_the_speech_is_cut_off(self) -> None:
        tokens = [stamp(0), 1, 2, stamp(2.9), stamp(2.9), 1, 2, stamp(6)]
        assert before_last_stamp(tokens, STAMP, 3.0) == [stamp(0), 1, 2]

    def test_a_stamp_between_two_sentences_is_no_end(self) -> None:
        tokens = [stamp(0), 1, stamp(1.2), stamp(1.2), 2, stamp(3)]
        assert before_last_stamp(tokens, STAMP, 3.0) == tokens[:-1]

    def test_a_first_stamp_ends_nothing_however_short_the_speech(self) -> None:
        assert before_last_stamp([stamp(0), 1, stamp(0.3)], STAMP, 0.3) == [stamp(0), 1]

    def test_without_an_end_stamp_all_is_kept(self) -> None:
        assert before_last_stamp([stamp(0), 1, 2, 3], STAMP, 3.0) == [stamp(0), 1, 2, 3]

    @pytest.mark.parametrize(
        "text",
        [
            "17. 17. 17. 17.",
            "Please try again. Please try again. Please try again. Please try",
            "So I said, and so I said, and so I said, and so I said",
            "A" * 200,
        ],
    )
    def test_texts_that_run_in_a_circle(self, text: str) -> None:
        assert repeats(text)

    @pytest.mark.parametrize(
        "text",
        ["", "Hello.", "I had had it.", "No, no.", "Ask not what your country can do for you, ask what you can do"],
    )
    def test_texts_that_do_not(self, text: str) -> None:
        assert not repeats(text)

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("I can sit up I can sit up I can sit up I can sit up I can", ""),
            ("A" * 200, ""),
            ("What is the capital of Italy, Italy, Italy, Italy, Ita", "What is the capital of Italy"),
            ("Well. Please try again. Please try again. Please try again. Please", "Well. Please try again"),
            ("Ask not what your country can do for you.", "Ask not what your country can do for you."),
            ("", ""),
        ],
    )
    def test_what_runs_in_a_circle_is_cut_off(self, text: str, kept: str) -> None:
        assert without_loop(text) == kept

    @pytest.mark.parametrize(
        ("text", "ended", "kept"),
        [
            ("I can sit up I can sit up I can sit up I can sit up", False, ""),
            ("I can sit up. I can sit up. I can sit up. I can sit up. I can sit up. I can sit up.", True, ""),
            ("It is five five five five", False, "It is five"),
            ("No, no, no.", True, "No, no, no."),
            ("Italy and then", False, "Italy and then"),
        ],
    )
    def test_babble_is_no_text_on_the_last_window_either(
        self, monkeypatch: pytest.MonkeyPatch, text: str, ended: bool, kept: str
    ) -> None:
        audio = Audio.silence(1.0, 16_000)

        def decode(audio: Audio, window: float, language: str | None, draft: Any = ()) -> Decoded:
            return Decoded(audio, text, ended, -0.4, 0.1, window, "en")

        whisper = object.__new__(FasterWhisper)
        whisper._window = "short"
        monkeypatch.setattr(whisper, "_decode", decode)
        done = whisper._guarded(audio, None, ())
        transcript = as_transcript([done])
        assert transcript.text == kept
        assert transcript.diagnostics.get("repetition", False) is (kept != text)

    @pytest.mark.parametrize(
        ("text", "kind"),
        [(" the", WORD), ("n't", WORD), (".", END),
         ("?\"", END), ("。", END), ("...", GOES_ON),
         (",", GOES_ON), (" -", GOES_ON), ('"', NO_MARK),
         ("", NO_MARK), (" [", NOISE), ("(", NOISE)],
    )  # fmt: skip
    def test_what_a_token_says_about_the_sentence_before_it(self, text: str, kind: int) -> None:
        assert kind_of_token(text) == kind

    def test_the_likeliest_first_words_are_told_without_marks(self) -> None:
        words = [" okay", " Okay", " loki", " [", ".", " so"]
        letters = SimpleNamespace(
            get_vocab_size=lambda with_added_tokens: len(words),
            decode_batch=lambda tokens: [words[token] for (token,) in tokens],
            decode=lambda tokens: words[tokens[0]],
        )
        logits = np.log(np.array([0.1, 0.2, 0.25, 0.4, 0.045, 0.005, 1.0]))  # the last is a timestamp's
        assert Vocabulary(letters).first_words(logits) == {"okay": pytest.approx(0.3), "loki": pytest.approx(0.25)}


@pytest.fixture(scope="module")
def full() -> FasterWhisper:
    """On windows of 30 s, as it was trained."""
    return FasterWhisper(window="full")


@pytest.fixture(scope="module")
def whisper() -> FasterWhisper:
    component = FasterWhisper()
    component.warm_up()
    return component


@pytest.fixture(scope="module")
def jfk(shared_data: Path) -> Audio:
    return Audio.load(shared_data / "jfk.wav")


class RunsOn:
    """A decoder that writes on behind the end-stamp, up to its limit."""

    def __init__(self, real: Decoder) -> None:
        self._real = real

    def write(self, encoded: Any, prompt: list[int], most: int, *more: Any) -> Written:
        written = self._real.write(encoded, prompt, most, *more)
        written.tokens += [written.tokens[1 + at % 2] for at in range(most - len(written.tokens))]
        return written


@pytest.mark.models
class TestTranscribing:
    def test_what_the_decoder_writes_behind_the_end_is_cut_off_and_no_reason_to_begin_again(
        self, whisper: FasterWhisper, jfk: Audio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        piece = jfk.cut(3.2, 4.6)
        before = whisper.transcribe(piece)
        monkeypatch.setattr(whisper, "_decoder", RunsOn(whisper._decoder))
        after = whisper.transcribe(piece)
        assert (after.text, after.ending) == (before.text, before.ending)
        assert after.diagnostics["fallback"] is False

    def test_conforms(self, whisper: FasterWhisper) -> None:
        conformance("stt", lambda: whisper)

    def test_a_real_voice(self, whisper: FasterWhisper, jfk: Audio) -> None:
        transcript = whisper.transcribe(jfk)
        assert words(transcript) == (
            "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
        )
        assert transcript.final
        assert transcript.language == "en"
        assert transcript.diagnostics["fallback"] is False
        assert transcript.diagnostics["window_s"] == pytest.approx(jfk.duration + 2, abs=0.01)

    def test_a_short_utterance_gets_six_seconds(self, whisper: FasterWhisper, jfk: Audio) -> None:
        transcript = whisper.transcribe(jfk.cut(3.2, 4.6))
        assert transcript.text.lower().startswith("ask not")
        assert transcript.diagnostics["window_s"] == 6.0

    def test_it_says_how_likely_the_sentence_is_over(self, whisper: FasterWhisper, jfk: Audio) -> None:
        over, cut = whisper.transcribe(jfk).ending, whisper.transcribe(jfk.cut(0, 1.9)).ending
        assert over is not None
        assert cut is not None
        assert 0 <= cut < 0.5 < 0.9 < over <= 1
        assert whisper.transcribe(Audio.silence(2.0, 16_000)).ending is None
        assert FasterWhisper(beam_size=2).transcribe(jfk.cut(0, 1.9)).ending is None

    def test_the_same_audio_gives_the_same_text(self, whisper: FasterWhisper, jfk: Audio) -> None:
        piece = jfk.cut(0, 2.5)
        assert whisper.transcribe(piece) == whisper.transcribe(piece)

    def test_one_who_speaks_on_is_recognised_on_what_was_written_before(
        self, whisper: FasterWhisper, jfk: Audio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drafts, write = [], whisper._decoder.write
        monkeypatch.setattr(
            whisper._decoder,
            "write",
            lambda *given: drafts.append(whisper._tokenizer("en").decode(given[3])) or write(*given),
        )
        for seconds in (1.9, 5.4, 11.0):
            transcript = whisper.transcribe(jfk.cut(0, seconds))
        assert drafts[0] == ""
        assert "And so my fellow" in drafts[1]
        assert "my fellow Americans" in drafts[2]
        for another in (jfk.cut(3.2, 11.0), jfk):
            alone = whisper.transcribe(another)
            assert drafts[-1] == ""
        assert words(transcript) == words(alone)

    @pytest.mark.parametrize(
        "options",
        [
            {"decoder": "ctranslate2"},
            pytest.param({"beam_size": 2}, marks=pytest.mark.long),
            pytest.param({"compute_type": "float32"}, marks=pytest.mark.long),
        ],
    )
    def test_whatever_decodes_it_hears_the_same(self, jfk: Audio, options: dict[str, Any]) -> None:
        transcript = FasterWhisper(**options).transcribe(jfk)
        assert words(transcript).startswith("and so my fellow americans ask not what your country can do for you")
        assert transcript.diagnostics["no_speech_prob"] < 0.2
        assert -0.5 < transcript.diagnostics["avg_logprob"] < 0

    def test_a_telephones_rate(self, whisper: FasterWhisper, jfk: Audio) -> None:
        assert "ask not what your country can do for you" in words(whisper.transcribe(jfk.resample(8000)))

    def test_nothing_and_silence_give_an_empty_text(self, whisper: FasterWhisper) -> None:
        assert whisper.transcribe(Audio(np.zeros(0), 16_000)).text == ""
        silence = whisper.transcribe(Audio.silence(2.0, 16_000))
        assert silence.text == ""
        assert silence.diagnostics["fallback"] is False

    @pytest.mark.parametrize(
        ("caps", "window"), [([2, 60], 10.0), pytest.param([2, 2, 60], 30.0, marks=pytest.mark.long)]
    )
    def test_a_text_that_never_ends_is_decoded_again_on_a_longer_window(
        self,
        whisper: FasterWhisper,
        full: FasterWhisper,
        jfk: Audio,
        monkeypatch: pytest.MonkeyPatch,
        caps: list[int],
        window: float,
    ) -> None:
        whole = full.transcribe(jfk.cut(3.2, 5.4)).text
        left = iter(caps)
        monkeypatch.setattr(faster_whisper, "longest", lambda seconds: next(left))
        transcript = whisper.transcribe(jfk.cut(3.2, 5.4))
        assert transcript.diagnostics["fallback"] is True
        assert transcript.diagnostics["window_s"] == window
        assert transcript.text == whole

    def test_longer_than_a_window(self, whisper: FasterWhisper, jfk: Audio) -> None:
        once, thrice = whisper.transcribe(jfk), whisper.transcribe(Audio.join([jfk] * 3))
        assert words(thrice) == " ".join([words(once)] * 3)
        assert thrice.ending is not None
        assert -0.5 < thrice.diagnostics["avg_logprob"] < 0
        assert thrice.diagnostics["no_speech_prob"] < 0.2

    @pytest.mark.long
    def test_long_speech_that_goes_on_is_heard_from_its_last_piece_on(
        self, jfk: Audio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        speech, whisper = Audio.join([jfk] * 4), FasterWhisper()
        heard: list[float] = []
        decode = whisper._decode

        def listening(audio: Audio, *given: Any) -> Any:
            heard.append(audio.duration)
            return decode(audio, *given)

        monkeypatch.setattr(whisper, "_decode", listening)
        less = whisper.transcribe(speech.cut(0, 31.0))
        first = heard[0]
        assert 15.0 < first < 30.0
        heard.clear()
        more = whisper.transcribe(speech.cut(0, 36.0))
        assert heard[0] == pytest.approx(36.0 - first)
        assert first not in heard
        for transcript, seconds in ((less, 31.0), (more, 36.0)):
            assert words(transcript) == words(FasterWhisper().transcribe(speech.cut(0, seconds)))
        whisper.transcribe(speech.cut(0, 36.0))  # the same data once more is measured in full
        assert first in heard

    def test_a_model_that_knows_english_alone_says_so(self, whisper: FasterWhisper, jfk: Audio) -> None:
        piece = jfk.cut(0, 2.5)
        assert whisper.transcribe(piece, language="en").text == whisper.transcribe(piece).text
        with pytest.raises(Declined, match="the model knows 'en' alone"):
            whisper.transcribe(piece, language="de")

    def test_the_full_window_can_be_asked_for(self, full: FasterWhisper, jfk: Audio) -> None:
        transcript = full.transcribe(jfk.cut(0, 2.5))
        assert transcript.diagnostics["window_s"] == 30.0
        assert transcript.diagnostics["fallback"] is False


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OpenOmniError, match=r"holds no model\.bin"):
        FasterWhisper(str(tmp_path))


class Multilingual:
    """What faster-whisper makes of a multilingual model, without one: it hears Welsh, and says what it is asked."""

    max_length = 448
    supported_languages = ("cy", "de", "en")

    def __init__(self, folder: str, **options: Any) -> None:
        names = (
            "ja", "<|endoftext|>", "<|startoftranscript|>", "<|cy|>", "<|de|>", "<|en|>", "<|transcribe|>",
            "<|notimestamps|>",
        )  # fmt: skip
        self.hf_tokenizer = tokenizers.Tokenizer(
            tokenizers.models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="ja")
        )
        self.prompts: list[list[str]] = []
        self.model = self
        self.is_multilingual, self.device = True, "cpu"
        self.feature_extractor = Features()

    def encode(self, features: Any) -> Any:
        return features

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        return [[("<|cy|>", 0.9)]]

    def generate(self, encoded: Any, prompts: list[list[int]], **options: Any) -> list[Any]:
        self.prompts.append([str(self.hf_tokenizer.id_to_token(token)) for token in prompts[0]])
        return [SimpleNamespace(sequences_ids=[[0]], scores=[-0.1], no_speech_prob=0.0, logits=[[[0.0]]])]


class Features:
    hop_length = 160

    def __call__(self, samples: Any) -> Any:
        return np.zeros((80, len(samples) // self.hop_length + 1), np.float32)


class TestLanguages:
    @pytest.fixture
    def several(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("faster_whisper.WhisperModel", Multilingual)
        for name in ("model.bin", "config.json"):
            (tmp_path / name).touch()
        return tmp_path

    @pytest.mark.parametrize(
        ("own", "asked", "spoken"), [(None, None, "cy"), ("en", None, "en"), (None, "de", "de"), ("en", "de", "de")]
    )
    def test_the_sessions_language_goes_before_the_pipelines(
        self, several: Path, own: str | None, asked: str | None, spoken: str
    ) -> None:
        whisper = FasterWhisper(str(several), language=own)
        heard = whisper.transcribe(Audio.silence(1.0, 16_000), language=asked)
        assert (heard.text, heard.language) == ("ja", spoken)
        assert whisper._model.prompts == [["<|startoftranscript|>", f"<|{spoken}|>", "<|transcribe|>"]]

    def test_the_next_utterance_is_in_the_pipelines_again(self, several: Path) -> None:
        whisper = FasterWhisper(str(several), language="en")
        languages = [whisper.transcribe(Audio.silence(1.0, 16_000), asked).language for asked in ("de", None)]
        assert languages == ["de", "en"]

    def test_one_that_it_does_not_know_is_declined(self, several: Path) -> None:
        with pytest.raises(Declined, match="the model knows no 'xx'"):
            FasterWhisper(str(several)).transcribe(Audio.silence(1.0, 16_000), language="xx")
