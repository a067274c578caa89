"""The programs, one package each. They never import each other: they share `libs.schema` and tell each other events."""
