"""Taking, copying, verifying, proving and restoring backups."""
