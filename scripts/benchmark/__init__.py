"""How much slower the analog model is than the plain one, in medians of alternating runs in one process."""
