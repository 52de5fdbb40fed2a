"""Device and converter physics as pure tensor functions, in the order map, program, drift, read, multiply.

Conductances are in uS, times in s; ``rel`` is a conductance divided by ``g_max``. A weight matrix is
(cols, rows) = (outputs, inputs) of a tile. Nothing here touches a global random generator.
"""
