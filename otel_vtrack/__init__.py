"""What users import; nothing heavy loads with it."""
