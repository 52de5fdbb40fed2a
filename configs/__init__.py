"""Hardware presets and recipes, as YAML files."""
