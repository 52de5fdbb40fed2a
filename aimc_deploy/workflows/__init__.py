"""What the tool does, one step a file: each takes a configuration, returns a result, and prints nothing."""
