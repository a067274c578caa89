"""THE CONTRACT: everything that the services may share. Imports neither a service nor a launcher."""
