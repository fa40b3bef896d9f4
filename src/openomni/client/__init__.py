"""Devices: the listener that captures, the responder that plays, and their connection to the gateway."""
