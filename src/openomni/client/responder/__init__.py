"""Plays what is said: sinks for a loudspeaker and for a folder, and the connection that feeds them."""
