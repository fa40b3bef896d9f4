"""Annotation: who is asked what about which conversations, and what they answered."""
