"""Start and stop services: plan, apply, undo what failed."""
