"""The demonstration behind `make demo`: a real app, two versions, two environments."""
