"""Our own components by name. A provider's module is imported when it is asked for, its runtime when it is built."""

from __future__ import annotations

COMPONENTS = {
    "stt:faster-whisper": "openomni.components.stt.faster_whisper:FasterWhisper",
    "stt:openai": "openomni.components.stt.openai:OpenAITranscriber",
    "llm:llama-cpp": "openomni.components.llm.llama_cpp:LlamaCpp",
    "llm:openai": "openomni.components.llm.openai:OpenAIChat",
    "tts:piper": "openomni.components.tts.piper:Piper",
    "tts:openai": "openomni.components.tts.openai:OpenAISpeech",
    "vad:silero": "openomni.components.vad.silero:Silero",
    "vad:energy": "openomni.components.vad.energy:Energy",
    "turn:smart-turn": "openomni.components.turn.smart_turn:SmartTurn",
    "turn:words": "openomni.components.turn.words:Words",
    "player:script": "openomni.components.player.script:Script",
    "stt:simulated": "openomni.components.simulated:SimulatedTranscriber",
    "emotion:simulated": "openomni.components.simulated:SimulatedEmotion",
    "retrieval:simulated": "openomni.components.simulated:SimulatedRetrieval",
    "llm:simulated": "openomni.components.simulated:SimulatedWriter",
    "tts:simulated": "openomni.components.simulated:SimulatedVoice",
    "end_to_end:simulated": "openomni.components.simulated:SimulatedAgent",
}
"""`kind:name` → `module:Class`."""
