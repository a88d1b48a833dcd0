"""One file for each verb. Modules that are slow to import are imported inside the verb."""
