"""Where notifications for people go."""
