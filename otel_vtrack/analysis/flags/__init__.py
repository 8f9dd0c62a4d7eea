"""The effects of feature flags: variants within a version, across versions, and over time."""
