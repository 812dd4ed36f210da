"""What the yard holds and who may touch it."""
