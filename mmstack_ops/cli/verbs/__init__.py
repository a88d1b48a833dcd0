"""One file for each verb. Whatever is slow to import is imported inside the verb."""
