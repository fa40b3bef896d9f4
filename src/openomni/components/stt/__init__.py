"""Speech to text, a file a provider."""
