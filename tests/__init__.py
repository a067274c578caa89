"""Tests by kind: unit (pure rules), contract (promises to an outside), e2e (one story a file)."""
