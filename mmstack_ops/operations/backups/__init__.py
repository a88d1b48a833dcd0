"""Taking, copying, verifying, proving, restoring, pruning and exporting backups."""
