"""The command line: verbs, tables, progress. Starts quickly and holds no logic."""
