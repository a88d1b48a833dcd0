"""Storage tiers: local disk, mounts, S3 and tape. One contract holds for all."""
