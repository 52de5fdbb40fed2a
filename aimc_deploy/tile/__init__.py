"""One crossbar: map, program, drift, mvm; and the grid of tiles that holds one weight matrix."""
