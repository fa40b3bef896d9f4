"""Text to speech, a file a provider."""
