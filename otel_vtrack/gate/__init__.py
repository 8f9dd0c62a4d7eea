"""Decides whether a version may be released, by applying a policy to a comparison.

Nothing here queries a server or writes a file; `vtrack gate` does.
"""
