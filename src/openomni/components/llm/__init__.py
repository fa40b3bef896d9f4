"""Language models, a file a provider."""
