"""What runs: pipelines and every version of them."""
