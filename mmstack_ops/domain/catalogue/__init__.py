"""The catalogue: one environment's view of the schema, which feeds every factory."""
