"""What every app stands on: who calls, whose rows, errors, paging, files in ranges, and the way to the bus."""
