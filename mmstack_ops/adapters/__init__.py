"""Side effects: the Docker engine, files, secrets, templates. No module here imports Dagster."""
