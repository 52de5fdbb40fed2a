"""Training in memory: arrays that only pulses change, the algorithms above them, a layer and an optimizer.

A weight matrix is (cols, rows) = (outputs, inputs). ``x`` are inputs (samples, inputs) and ``d`` gradients of
the loss by the outputs (samples, outputs), already divided by the size of the batch; the step that is asked
for is ``-lr d^T x``. An array only knows pulses: what they do is in ``physics/response.py``.
"""
