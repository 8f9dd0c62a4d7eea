"""Whether a version may be released: a policy, and what a comparison means by it.

Nothing in here asks a server or writes a file; `vtrack gate` does.
"""
