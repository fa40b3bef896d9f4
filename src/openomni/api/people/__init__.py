"""Who is heard or seen: participants, and what each agreed to."""
