"""A tier that is a bucket of an S3 store."""
