"""Side effects: the Docker engine, files, secrets, templates. Nothing here imports Dagster."""
