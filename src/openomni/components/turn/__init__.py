"""Whether the person has finished, judged at a pause."""
