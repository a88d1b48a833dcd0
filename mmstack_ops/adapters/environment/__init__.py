"""The operator's values and generated secrets, rendered to what containers and Compose read."""
