"""Use cases of operators, schedules and sensors. They act through adapters."""
