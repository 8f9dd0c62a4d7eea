"""Statistical comparisons of versions, deployments and flags."""
