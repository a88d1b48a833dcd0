"""Delete the data of a scope: plan, confirm, delete, start again what was running."""
