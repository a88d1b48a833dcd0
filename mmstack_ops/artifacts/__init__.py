"""The backup format: write, read and check backups on a tier, independent of their content."""
