"""The catalogue: the schema resolved for one environment, which all factories use."""
