"""Latency, energy and memory: analytic, from the tile map and published figures of chips."""
