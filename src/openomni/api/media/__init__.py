"""Recordings: their rows, and their bytes over HTTP."""
