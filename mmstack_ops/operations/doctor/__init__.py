"""Check this machine and the requirements of an environment."""
