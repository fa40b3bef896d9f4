"""Voice activity detection, a file a provider."""
