"""Speech to text by a server that speaks OpenAI's protocol."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec

from ...errors import Declined
from ...events import Transcript, Usage
from ...media import Audio
from ..registry import component
from ..remote import Remote, RemoteError

SHORTEST = 0.1
"""Seconds below which OpenAI refuses a file; what is shorter holds no word."""


@component("stt", "openai", install="openomni[agent]", requires="openai")
class OpenAITranscriber:
    """Transcription over HTTP: OpenAI's models, or any compatible server's. The remote model's licence applies.

    Args:
        model: A model that the server has.
        base_url: The server's address, ending in /v1; OPENAI_BASE_URL, else OpenAI, by default. A key that it asks for
            is set on the agent's machine, never here: OPENAI_API_KEY, or OPENOMNI_KEYS=ADDRESS=KEY for another server.
        language: ISO 639-1 code such as `en`; found out by the model when it is left out. A session
            may say another.
        prompt: Words to expect, such as names.
        temperature: 0 is the likeliest text.
        price: Of a minute of speech; with it each turn states its cost.
        currency: Of the price.
    """

    slots = 8

    def __init__(
        self,
        model: str = "gpt-4o-mini-transcribe",
        base_url: str | None = None,
        language: str | None = None,
        prompt: str | None = None,
        temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None,
        price: float | None = None,
        currency: str = "USD",
    ) -> None:
        self._remote = Remote(model, base_url)
        self.effective = {"base_url": self._remote.url}
        options = {"prompt": prompt, "temperature": temperature}
        self._options: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self._language = language
        self._price, self._currency = price, currency

    async def transcribe(self, audio: Audio, language: str | None = None) -> AsyncIterator[Transcript | Usage]:
        spoken = language or self._language
        if audio.duration < SHORTEST:
            yield Transcript("", language=spoken)
            return
        file = ("speech.wav", _wav(audio), "audio/wav")
        options = self._options | ({"language": spoken} if spoken else {})
        try:
            async with self._remote.asking() as client:
                answer = await client.audio.transcriptions.create(
                    file=file, model=self._remote.model, response_format="json", **options
                )
        except RemoteError as error:
            if language is None or not error.unfit:
                raise
            raise Declined("language", str(error)) from None
        text = getattr(answer, "text", None)
        if not isinstance(text, str):
            raise RemoteError(f"{self._remote.url} gave no transcript; check that it is a transcription server")
        yield Transcript(text.strip(), language=spoken)
        cost = None if self._price is None else self._price * audio.duration / 60
        yield Usage(seconds=audio.duration, cost=cost, currency=self._currency)

    async def close(self) -> None:
        await self._remote.close()


def _wav(audio: Audio) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(audio.rate)
        out.writeframes(audio.pcm16())
    return held.getvalue()
