"""What a user can set: frozen pydantic models, presets, and YAML loading with file and line in errors."""
