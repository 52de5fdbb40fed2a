"""What a model is adapted to and measured by: tasks, their data, tokens and metrics."""
