"""Storage tiers: local disk, mounts, S3 and tape. All have the same contract."""
