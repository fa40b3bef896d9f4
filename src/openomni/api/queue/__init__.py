"""Work that agents do later: turns to run on a recording, and what failed too often."""
