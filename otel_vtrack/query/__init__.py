"""The only reader of the store."""
