"""Who may do what: users, projects, memberships and tokens."""
