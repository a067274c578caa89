"""Event → rows, as values: pure, and the same for the live projection and a rebuild."""
