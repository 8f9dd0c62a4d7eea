"""Decides which traces are stored: whole, by trace id, each with how many traces it stands for.

Depends on neither journal nor tables: it takes requests and returns the part to store.
docs/sampling.md explains what it decides and why estimates stay correct.
"""
