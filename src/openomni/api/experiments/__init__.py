"""Experiments: datasets × pipelines × repeats, as cells that are run, scored and compared."""
