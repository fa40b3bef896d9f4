"""Reports over what was recorded: latency, accuracy, cost."""
