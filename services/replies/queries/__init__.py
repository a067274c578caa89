"""The SQL of replies, one file a noun; each statement stands above its one function."""
