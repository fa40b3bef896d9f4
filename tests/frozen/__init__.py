"""Messages as each release wrote them, which every later one must read. `python -m frozen.write` in `tests` adds those
of this release."""
