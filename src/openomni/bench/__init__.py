"""The benchmarks of this project: each takes its figures from the real path, and says on which machine."""
