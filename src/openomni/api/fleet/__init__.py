"""Who works: agents and what each offers."""
