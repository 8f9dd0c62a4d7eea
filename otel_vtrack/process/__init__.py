"""What is done with telemetry before it is stored and passed on: enriched, then redacted.

Knows requests and settings of its own, and neither who receives nor who stores or forwards.
"""
