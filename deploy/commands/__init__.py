"""What each subcommand of `coldstream` does; imported by `deploy.cli` only when it is asked for."""
