"""Captures what is said: sources, the live listener, the fast replay, and the flow from one to the other."""
