"""What was recorded: sessions, turns, tasks, recordings. The one room of tables that all apps above read, and the
single writer of them."""
