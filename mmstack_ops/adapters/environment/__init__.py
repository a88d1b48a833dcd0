"""The operator's values and generated secrets, rendered for containers and Compose."""
