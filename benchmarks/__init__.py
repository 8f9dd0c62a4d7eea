"""Measurements; `make bench` runs them and prints ratios taken side by side in one run."""
