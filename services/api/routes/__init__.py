"""HTTP and no more: a body in, rows and events in the request's transaction, an answer out."""
