"""Processes telemetry before it is stored and forwarded: enriches it, then redacts it.

Depends only on requests and its own settings, not on receiving, storing or forwarding.
"""
