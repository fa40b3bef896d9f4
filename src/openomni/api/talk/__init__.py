"""The page on which somebody talks with a pipeline: their browser is the device."""
