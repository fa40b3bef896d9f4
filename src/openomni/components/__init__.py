"""Components: one model or tool behind one kind's interface, found by name and run as a stage."""
