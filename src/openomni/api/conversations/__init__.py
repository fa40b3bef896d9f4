"""What was said and done: sessions, turns, tasks; the recorder that writes them; the queue of turns to run."""
