"""Plays a person for a measurement: speaks in real time over the real way, and notes what it hears and when."""
