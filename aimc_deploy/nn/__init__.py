"""Analog layers in a torch model: the layer, putting it in place, and moving all of them through time."""
