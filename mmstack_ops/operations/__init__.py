"""Use cases: what an operator, a schedule or a sensor asks for. They act through adapters."""
