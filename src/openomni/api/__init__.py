"""The brain: records, orchestrates, and serves REST and the admin. The only part that imports Django."""
