"""Show results on a terminal, in a file and as JSON."""
