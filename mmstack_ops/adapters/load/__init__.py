"""Running load tests in containers."""
