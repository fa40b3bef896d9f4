"""A language model on a server that speaks OpenAI's protocol."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import msgspec

from ...events import Message, Usage
from ..registry import component
from ..remote import ENVIRONMENT, Remote


@component("llm", "openai", install="openomni[agent]", requires="openai")
class OpenAIChat:
    """Chat over HTTP, streamed, with pictures: OpenAI's models, or any compatible server's. Its licence applies.

    Args:
        model: A model that the server has.
        base_url: The server's address, ending in /v1; OPENAI_BASE_URL, else OpenAI, by default.
        api_key: OPENAI_API_KEY by default. Better there than in a pipeline, which others can read.
        temperature: 0 is the likeliest text; higher is more varied. The model's own by default.
        max_tokens: Where the reply is cut off.
        input_price: Price of a million input tokens; with `output_price` each turn states its cost.
        output_price: Price of a million output tokens.
        currency: Of the prices.
    """

    slots = 8
    environment = ENVIRONMENT

    def __init__(
        self,
        model: str = "gpt-4o-mini",
        base_url: str | None = None,
        api_key: str | None = None,
        temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None,
        max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
        currency: str = "USD",
    ) -> None:
        self._remote = Remote(model, base_url, api_key)
        # OpenAI's newer models refuse the older name, and most other servers know no other.
        limit = "max_completion_tokens" if self._remote.is_openai else "max_tokens"
        options = {"temperature": temperature, limit: max_tokens}
        self._options: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self._prices = (input_price, output_price)
        self._currency = currency

    async def generate(self, messages: Sequence[Message]) -> AsyncIterator[str | Usage]:
        async with self._remote.asking() as client:
            stream = await client.chat.completions.create(
                model=self._remote.model,
                messages=[_wire(message) for message in messages],
                stream=True,
                stream_options={"include_usage": True},
                **self._options,
            )
            async with stream:
                async for chunk in stream:
                    if chunk.choices and chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content
                    if chunk.usage is not None:
                        yield self._usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)

    async def close(self) -> None:
        await self._remote.close()

    def _usage(self, given: int, written: int) -> Usage:
        price_in, price_out = self._prices
        cost = None
        if price_in is not None and price_out is not None:
            cost = (given * price_in + written * price_out) / 1_000_000
        return Usage(input_tokens=given, output_tokens=written, cost=cost, currency=self._currency)


def _wire(message: Message) -> Any:
    if not message.images:
        return {"role": message.role, "content": message.content}
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
    for frame in message.images:
        data = base64.b64encode(frame.jpeg()).decode()
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    return {"role": message.role, "content": parts}
