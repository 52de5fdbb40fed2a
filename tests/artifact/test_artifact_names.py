"""Which names a bundle may hold."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.artifact.manifest import is_file_name, is_folder_name

FILE_NAMES = """
tiles.safetensors model.safetensors README.md hardware.json tile_map.json config.json tokenizer.json vocab.txt
merges.txt spiece.model sentencepiece.bpe.model adapters/sst2/adapter_config.json adapters/A-1.0/README.md
adapters/sst2/adapter_model.safetensors results/sst2.json results/sst2.csv results/sst2.svg report/index.html
report/junit.xml
"""
OTHER_NAMES = """
manifest.json Manifest.json other.safetensors pytorch_model.bin optimizer.pt model.pkl report/model.pkl
report/x run.py README readme.md /config.json ./config.json ../config.json a/../config.json config.json/
config.json/a.json .hidden.json .lock .pending.json adapters adapters/a.json adapters/a/b/c.json
adapters//a.json adapters/./a.json adapters/../a.json adapters/a..b/c.json adapters/.a/b.json
adapters/a/.b.json adapters/a/b.bin results/a/b.json results/.a.json c:config.json c:/config.json
\\\\host\\share.json results\\a.json config.json:stream CONFIG.JSON results/ä.json results/a․json
"""


@pytest.mark.parametrize("name", FILE_NAMES.split())
def test_names_a_bundle_may_hold(name: str) -> None:
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name", [*OTHER_NAMES.split(), "", " ", "a b.json", "a.json\n", "a.json\0", "a" * 200 + ".json"]
)
def test_names_no_bundle_may_hold(name: str) -> None:
    assert not is_file_name(name)


@pytest.mark.parametrize("name", ["results", "report", "adapters/sst2", "adapters/A_1.0-b"])
def test_folders_that_are_replaced_as_a_whole(name: str) -> None:
    assert is_folder_name(name)


OTHER_FOLDERS = """
adapters adapters/ adapters/.. adapters/a..b adapters/.a adapters/a/b tiles results/ /results Results
"""


@pytest.mark.parametrize("name", [*OTHER_FOLDERS.split(), "", "results\n", "adapters/" + "a" * 129])
def test_folders_that_are_not(name: str) -> None:
    assert not is_folder_name(name)


PIECES = """
/ \\ .. . a _ - : ~ ä Z .json .safetensors .pkl .bin .csv .html adapters results report tiles model
"""


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from([*PIECES.split(), "\n", " "]), max_size=8).map("".join)
    | st.from_regex(r"(adapters/|results/|report/)?[a-z./]{1,9}")
)
def test_an_accepted_name_stays_in_the_bundle_on_any_system(name: str) -> None:
    if not is_file_name(name):
        return
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    assert str(posix) == name
    assert not posix.is_absolute()
    assert windows.drive + windows.root == ""
    assert posix.parts == windows.parts
    assert not any(part.startswith(".") for part in posix.parts)
    assert posix.suffix not in (".pkl", ".bin", ".pt", ".py", "")
    assert name.isascii()
    assert name.isprintable()
