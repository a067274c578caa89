"""Promises to an outside, against real servers."""
