"""The secret store of an environment."""
