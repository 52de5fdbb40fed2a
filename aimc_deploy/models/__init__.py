"""Pretrained models: where they come from, how they are read, and which of their layers go analog."""
