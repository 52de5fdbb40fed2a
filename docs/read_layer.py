"""Read one layer of a bundle with numpy and safetensors alone, and multiply with it.

python docs/read_layer.py BUNDLE LAYER
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def read_layer(bundle: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (outputs, inputs) that the tiles were asked to hold, and the digital bias."""
    plan = json.loads((bundle / "tile_map.json").read_text())
    entry = next(part for part in plan["analog"] if part["layer"] == name)
    tiles = load_file(bundle / "tiles.safetensors")
    matrix = np.zeros((entry["cols"], entry["rows"]), np.float32)
    for block in entry["blocks"]:
        own = {part: tiles[f"{block['tensors']}.{part}"] for part in ("g_plus", "g_minus", "w_scale")}
        normalised = (own["g_plus"] - own["g_minus"]) / np.float32(plan["g_max"])
        matrix[slice(*block["cols"]), slice(*block["rows"])] = normalised * own["w_scale"][:, None]
    bias = load_file(bundle / "model.safetensors").get(f"{name}.bias")
    return matrix, np.zeros(entry["cols"], np.float32) if bias is None else bias


if __name__ == "__main__":
    matrix, bias = read_layer(Path(sys.argv[1]), sys.argv[2])
    print(matrix.shape, (np.ones(matrix.shape[1], np.float32) @ matrix.T + bias)[:4])
