"""Who plays the user of a sample, a file a provider."""
