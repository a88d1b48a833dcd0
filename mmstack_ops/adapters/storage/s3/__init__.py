"""A storage tier in a bucket of an S3 store."""
