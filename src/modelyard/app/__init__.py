"""The composition: the only place that picks SQLite or PostgreSQL, disk or S3, local or Ray."""
