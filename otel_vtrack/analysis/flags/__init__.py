"""What feature flags do: variants within a version, across versions, and over time."""
