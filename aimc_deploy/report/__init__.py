"""What people look at: plots now, pages later."""
