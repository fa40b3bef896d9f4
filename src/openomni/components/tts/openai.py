"""Text to speech by a server that speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec

from ...errors import Declined
from ...events import Usage
from ...media import Audio
from ..registry import component
from ..remote import Remote, RemoteError

KNOWN = 100
"""Voices that a server refused which are remembered, so that a reply with another such name is not asked for twice."""


@component("tts", "openai", install="openomni[agent]", requires="openai")
class OpenAISpeech:
    """A voice over HTTP, streamed as 16-bit PCM: OpenAI's, or any compatible server's. Its licence applies.

    Args:
        model: A model that the server has.
        voice: One of the model's voices; a session may ask for another one.
        base_url: The server's address, ending in /v1; OPENAI_BASE_URL, else OpenAI, by default. A key that it asks for
            is set on the agent's machine, never here: OPENAI_API_KEY, or OPENOMNI_KEYS=ADDRESS=KEY for another server.
        instructions: How to speak, for models that take it.
        speed: 1 is the voice's own.
        rate: Samples a second of the server's PCM; OpenAI's is 24000.
        price: Of a million characters; with it each turn states its cost.
        currency: Of the price.
    """

    slots = 8

    def __init__(
        self,
        model: str = "gpt-4o-mini-tts",
        voice: str = "alloy",
        base_url: str | None = None,
        instructions: str | None = None,
        speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] | None = None,
        rate: Annotated[int, msgspec.Meta(ge=8000)] = 24_000,
        price: float | None = None,
        currency: str = "USD",
    ) -> None:
        self._remote = Remote(model, base_url)
        self.effective = {"base_url": self._remote.url}
        options = {"instructions": instructions, "speed": speed}
        self._options: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self._voice = voice
        self._refused: dict[str, str] = {}
        self._rate = rate
        self._price, self._currency = price, currency

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncIterator[Audio | Usage]:
        if voice in self._refused:
            raise Declined("voice", self._refused[voice])
        try:
            async with aclosing(self._speak(text, voice or self._voice)) as spoken:
                async for piece in spoken:
                    yield piece
        except RemoteError as error:
            if voice is None or not error.unfit:
                raise
            if voice in str(error) and len(self._refused) < KNOWN:
                self._refused[voice] = str(error)  # its words name the voice: it is nothing else that it refuses
            raise Declined("voice", str(error)) from None

    async def _speak(self, text: str, voice: str) -> AsyncGenerator[Audio | Usage, None]:
        async with self._remote.asking() as client:
            speech = client.audio.speech.with_streaming_response.create(
                model=self._remote.model, voice=voice, input=text, response_format="pcm", **self._options
            )
            async with speech as answer:
                self._refuse_words(answer.headers.get("content-type", ""))
                odd = b""  # half a sample, when the network cuts one in two
                async for piece in answer.iter_bytes():
                    data = odd + piece
                    whole = len(data) // 2 * 2
                    odd = data[whole:]
                    yield Audio.from_pcm16(data[:whole], self._rate)
        cost = None if self._price is None else self._price * len(text) / 1_000_000
        yield Usage(characters=len(text), cost=cost, currency=self._currency)

    def _refuse_words(self, content_type: str) -> None:
        """An error page or a compressed file must not be heard as noise."""
        sort = content_type.partition(";")[0].strip().lower()
        if sort.startswith("text/") or sort in ("application/json", "audio/mpeg", "audio/wav", "audio/x-wav"):
            raise RemoteError(f"{self._remote.url} sent {sort} and no raw PCM; use a server that knows it")

    async def close(self) -> None:
        await self._remote.close()
