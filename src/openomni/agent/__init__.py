"""The worker: offers components, runs stages, hosts live sessions and does queued turns."""
