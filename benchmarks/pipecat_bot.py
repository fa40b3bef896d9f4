"""The other side of `pipecat_side_by_side.py`: a bot of Pipecat, run by the Python of its own environment.

It is what Pipecat's project template makes for speech recognition, language model and voice in a row: its pipeline,
its context aggregators with Silero, its default turn strategies with Smart Turn v3. All models are local. It serves
one client over Pipecat's own WebSocket transport, with PCM16 as the frames' form: 16 kHz in, 24 kHz out. Events of
the user's turns go to standard output, a JSON object a line, stamped by the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import Frame, InputAudioRawFrame, InterruptionFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.piper.tts import PiperTTSService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.websocket.server import SingleClientWebsocketServerParams, SingleClientWebsocketServerTransport
from pipecat.workers.runner import WorkerRunner

INPUT_RATE = 16_000


class Pcm(FrameSerializer):
    """Sound as it is; an interruption is the text `interrupted`."""

    async def serialize(self, frame: Frame) -> str | bytes | None:
        if isinstance(frame, OutputAudioRawFrame):
            return frame.audio
        return "interrupted" if isinstance(frame, InterruptionFrame) else None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        if isinstance(data, bytes):
            return InputAudioRawFrame(audio=data, sample_rate=INPUT_RATE, num_channels=1)
        return None


def tell(event: str, **more: object) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **more}), flush=True)


async def serve(options: argparse.Namespace) -> None:
    transport = SingleClientWebsocketServerTransport(
        params=SingleClientWebsocketServerParams(audio_in_enabled=True, audio_out_enabled=True, serializer=Pcm()),
        host="127.0.0.1",
        port=options.port,
    )
    stt = WhisperSTTService(
        device="cpu", compute_type="int8", settings=WhisperSTTService.Settings(model=str(options.whisper))
    )
    llm = OpenAILLMService(
        api_key="none",
        base_url=options.llm,
        settings=OpenAILLMService.Settings(
            model="local",
            system_instruction=options.instructions,
            temperature=options.temperature,
            top_p=options.top_p,
            max_tokens=options.max_tokens,
        ),
    )
    tts = PiperTTSService(
        settings=PiperTTSService.Settings(voice=options.voice.stem), download_dir=options.voice.parent
    )
    user, assistant = LLMContextAggregatorPair(
        LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )

    @user.event_handler("on_user_turn_stopped")
    async def stopped(aggregator: object, strategy: object, message: object) -> None:
        tell("turn", text=getattr(message, "content", "") or "")

    @transport.event_handler("on_websocket_ready")
    async def ready(transport: object) -> None:
        tell("ready")

    pipeline = Pipeline([transport.input(), stt, user, llm, tts, transport.output(), assistant])
    worker = PipelineWorker(pipeline, params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
                            cancel_on_idle_timeout=False)  # fmt: skip
    runner = WorkerRunner(handle_sigint=True, handle_sigterm=True)

    @transport.event_handler("on_client_disconnected")
    async def gone(transport: object, client: object) -> None:
        await runner.cancel()

    await runner.add_workers(worker)
    await runner.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--llm", required=True, help="base URL of an OpenAI-compatible server")
    parser.add_argument("--whisper", type=Path, required=True, help="folder of a model for CTranslate2")
    parser.add_argument("--voice", type=Path, required=True, help="a Piper voice, .onnx")
    parser.add_argument("--instructions", required=True)
    parser.add_argument("--temperature", type=float, required=True)
    parser.add_argument("--top-p", type=float, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    logger.remove()
    logger.add(sys.stderr, level="INFO")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
