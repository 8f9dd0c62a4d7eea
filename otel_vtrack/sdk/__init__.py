"""The half that runs inside the traced application."""
