"""Datasets: frozen, versioned lists of samples, whose media are recordings."""
