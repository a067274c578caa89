"""What the API takes, as pydantic models: what is unknown, mistyped or impossible is refused with its place."""
