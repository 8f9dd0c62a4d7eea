"""The part that runs inside the traced application."""
