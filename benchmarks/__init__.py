"""Benchmarks; `make bench` runs them and prints ratios of measurements taken side by side."""
