"""The whole platform, one story a file."""
