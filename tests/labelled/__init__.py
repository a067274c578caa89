"""Replies with what they mean, and how well they are understood."""
