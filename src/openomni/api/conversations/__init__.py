"""Conversations as people see and hear them: their pages, and their sound."""
