"""Pipelines: what one is (`spec`), one turn through its stages (`turn`), a live conversation (`session`)."""
