"""Run load tests in containers."""
