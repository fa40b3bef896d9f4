"""The live door: WebSockets in front of the bus, and one origin for everything else."""
