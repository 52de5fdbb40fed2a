from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import MobileBertConfig, MobileBertModel, PreTrainedModel

from aimc_deploy.config.run import Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.checkpoint import Checkpoint, load_checkpoint
from aimc_deploy.models.weights import sha256

FAMILIES = ("mobilebert", "bert", "distilbert", "roberta", "electra")
IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 5, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def load(folder: Path | str, **settings: Any) -> Checkpoint:
    return load_checkpoint(Source(path=str(folder), **settings))


@pytest.fixture
def folder(tmp_path: Path, pristine: Path) -> Path:
    """A MobileBERT that a test may damage."""
    return Path(shutil.copytree(pristine / "mobilebert", tmp_path / "mobilebert"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_encoder_of_a_pretraining_checkpoint_computes_the_same_bits(
    family: str, pristine: Path, originals: dict[str, PreTrainedModel]
) -> None:
    original = originals[family]
    found = load(pristine / family)
    with torch.no_grad():
        expected = original.base_model(IDS, attention_mask=MASK).last_hidden_state
        got = found.model.base_model(IDS, attention_mask=MASK).last_hidden_state
        logits = found.model(IDS, attention_mask=MASK).logits
    assert torch.equal(got, expected)
    assert logits.shape == (2, 2)
    assert torch.isfinite(logits).all()
    assert not found.model.training
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}
    assert found.tokenizer("good film")["input_ids"] == [5, 7]
    assert found.provenance == {
        "source": str(pristine / family),
        "revision": None,
        "commit": None,
        "format": "safetensors",
        "weight_files": {"model.safetensors": sha256(pristine / family / "model.safetensors")},
        "model_type": family,
        "parameters": sum(parameter.numel() for parameter in found.model.parameters()),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_head_is_not_kept_and_the_new_one_is_always_the_same(
    family: str, tmp_path: Path, pristine: Path
) -> None:
    first = load(pristine / family).model
    trained = load(pristine / family).model
    heads = [name for name, _ in trained.named_parameters() if not name.startswith(trained.base_model_prefix)]
    with torch.no_grad():
        for name in heads:
            trained.get_parameter(name).fill_(3.0)
    trained.config.problem_type = "regression"
    trained.config.id2label = {0: "NEGATIVE", 1: "POSITIVE"}
    trained.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pristine / family / name, tmp_path)
    torch.manual_seed(12345)
    again = load(tmp_path).model
    assert heads
    assert all(torch.equal(first.get_parameter(name), again.get_parameter(name)) for name in heads)
    assert any(first.get_parameter(name).std() > 0 for name in heads)
    assert again.config.problem_type is None
    assert again.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


def test_the_global_generator_is_left_as_it_was(pristine: Path) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    load(pristine / "bert")
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_printed_and_settings_are_restored(
    folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    edit_config(folder, pad_token_id=0, made_up=3, torch_dtype="float16")
    transformers.logging.set_verbosity_info()
    huggingface_hub.logging.set_verbosity_info()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load(folder)
            edit_config(folder, pad_token_id=10**6)
            with pytest.raises(ModelError):
                load(folder)
        assert transformers.logging.get_verbosity() == transformers.logging.INFO
        assert huggingface_hub.logging.get_verbosity() == transformers.logging.INFO
        assert transformers.logging.is_progress_bar_enabled()
        assert not huggingface_hub.utils.are_progress_bars_disabled()
    finally:
        transformers.logging.set_verbosity_warning()
        huggingface_hub.logging.set_verbosity_warning()
    output = capfd.readouterr()
    assert (output.out, output.err, caplog.records, caught) == ("", "", [], [])


def test_bundled_checkpoint_or_the_one_that_stands_in_for_it(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_checkpoint(Source(), default=pristine / "mobilebert")
    assert found.provenance["source"] == "bundled mobilebert"
    monkeypatch.setattr("aimc_deploy.models.checkpoint.BUNDLED", tmp_path / "mini-mobilebert")
    with pytest.raises(ModelError, match=r"bundled checkpoint is not there.*install the package again"):
        load_checkpoint(Source())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_become_float32(folder: Path, dtype: torch.dtype) -> None:
    edit_weights(folder, lambda tensors: tensors.update({k: v.to(dtype) for k, v in tensors.items()}))
    edit_config(folder, dtype=str(dtype).removeprefix("torch."))
    name = "mobilebert.encoder.layer.0.attention.self.query.weight"
    model = load(folder).model
    assert torch.equal(model.get_parameter(name), load_file(folder / "model.safetensors")[name].float())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.to_dict()["dtype"] == "float32"


def test_encoder_alone_without_prefix_pooler_or_head(
    folder: Path, pristine: Path, originals: dict[str, PreTrainedModel]
) -> None:
    bare = MobileBertModel(originals["mobilebert"].config, add_pooling_layer=False)
    bare.load_state_dict(originals["mobilebert"].base_model.state_dict(), strict=False)
    bare.save_pretrained(folder)
    assert not any(name.startswith("mobilebert.") for name in load_file(folder / "model.safetensors"))
    got, expected = load(folder).model.state_dict(), load(pristine / "mobilebert").model.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in got)


def test_a_missing_pooler_is_made_fresh(tmp_path: Path, pristine: Path) -> None:
    folder = Path(shutil.copytree(pristine / "bert", tmp_path / "bert"))
    edit_weights(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if "pooler" in name])
    first, second = (load(folder).model.get_parameter("bert.pooler.dense.weight") for _ in range(2))
    assert first.std() > 0
    assert torch.equal(first, second)


def test_old_names_and_buffers_of_old_checkpoints(tmp_path: Path, pristine: Path) -> None:
    folder = Path(shutil.copytree(pristine / "bert", tmp_path / "bert"))

    def age(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if ".LayerNorm." in name]:
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )
            tensors[old] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(16).unsqueeze(0)
        tensors["lm_head.bias"] = torch.zeros(3)

    edit_weights(folder, age)
    got, expected = load(folder).model.state_dict(), load(pristine / "bert").model.state_dict()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\nwords\n", "apache-2.0"),
        ("---\ntags: [a]\n---\nwords\n", None),
        ("---\nlicense: [mit, other]\n---\n", None),
        ("---\nlicense: {\n---\n", None),
        ("---\n- mit\n---\n", None),
        ("words\n", None),
        (b"\xff\xfe", None),
    ],
)
def test_the_licence_is_what_the_checkpoints_own_card_says(
    folder: Path, text: str | bytes, licence: str | None
) -> None:
    (folder / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert load(folder).provenance.get("license") == licence


def test_sharded_safetensors(tmp_path: Path, pristine: Path, originals: dict[str, PreTrainedModel]) -> None:
    originals["bert"].save_pretrained(tmp_path, max_shard_size="4KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pristine / "bert" / name, tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    found = load(tmp_path)
    got, expected = found.model.state_dict(), load(pristine / "bert").model.state_dict()
    assert len(shards) > 1
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert found.provenance["weight_files"] == {shard.name: sha256(shard) for shard in shards}

    shards[1].unlink()
    with pytest.raises(ModelError, match=rf"1 are missing \({shards[1].name}\)"):
        load(tmp_path)


def test_vocabulary_file_alone_is_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nfilm\n")
    assert load(folder).tokenizer("Good film")["input_ids"] == [2, 5, 6, 3]


def test_code_that_a_configuration_asks_for_is_not_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = folder / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass C: pass\n")
    names = ("AutoConfig", "AutoModelForSequenceClassification", "AutoTokenizer")
    edit_config(
        folder,
        auto_map=dict.fromkeys(names, "evil.C"),
        attn_implementation="evil/kernel",
        _attn_implementation="evil/kernel",
        quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True},
    )
    config = load(folder).model.config.to_dict()
    assert not canary.exists()
    assert "evil" not in json.dumps(config)
    assert "quantization_config" not in config
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["evil.C", "evil.C"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    load(folder)
    assert not canary.exists()


def refused(folder: Path | str, *words: str, **settings: Any) -> None:
    with pytest.raises(ModelError) as raised:
        load(folder, **settings)
    message = str(raised.value)
    assert all(re.search(word, message) for word in words), message
    assert raised.value.exit_code == 2


def test_places_that_hold_no_checkpoint(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "nowhere", "there is no folder", "give a folder")
    refused("./nowhere", "no folder", "hub id")
    refused("\0", "no folder")
    refused("x" * 5000, "no folder")
    refused("", "no folder")
    refused(tmp_path / "empty", "empty", "config.json, tokenizer and weights")
    refused(folder / "config.json", "is a file", "folder that it is in")
    refused(folder, "no revision 'v1'", "leave out --revision", revision="v1")
    (folder / "config.json").unlink()
    refused(folder, "no config.json", "save_pretrained")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", ("not valid JSON", "download")),
        (b"\xff\xfe", ("not valid JSON",)),
        (b"[" * 100_000, ("not valid JSON",)),
        (b"[]", ("model_type is None", "mobilebert, bert, distilbert, roberta, electra")),
        (b"{}", ("model_type is None",)),
        (b'{"model_type": ["bert"]}', ("model_type is",)),
        (b'{"model_type": "gpt2"}', ("model_type is 'gpt2'", "supported")),
    ],
)
def test_config_that_is_none(folder: Path, text: bytes, words: tuple[str, ...]) -> None:
    (folder / "config.json").write_bytes(text)
    refused(folder, *words)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "wide"},
        {"hidden_size": -8},
        {"hidden_act": "none such"},
        {"normalization_type": "none such"},
        {"num_hidden_layers": None},
        {"hidden_dropout_prob": 3.0},
        {"pad_token_id": 10**6},
    ],
)
def test_config_of_no_possible_model(folder: Path, changes: dict[str, Any]) -> None:
    edit_config(folder, **changes)
    refused(folder, "config.json: no model can be built", "download")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 3}, ("lack 'encoder.layer.2", "same place")),
        ({"num_hidden_layers": 1}, ("have 'encoder.layer.1", "same place")),
        ({"model_type": "bert"}, ("lack 'embeddings.word_embeddings.weight'",)),
        ({"vocab_size": 10**12}, ("word_embeddings.weight", r"\(24, 8\)", r"\(1000000000000, 8\)")),
        ({"intermediate_size": 24}, ("has shape", "asks for")),
        ({"vocab_size": 8}, ("ids up to 9", "vocab_size 8")),
    ],
)
def test_config_of_another_model(folder: Path, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    edit_config(folder, **changes)
    refused(folder, *words)


def test_tokenizers_that_are_missing_or_damaged(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": ')
    refused(folder, "tokenizer cannot be read", "download")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    refused(folder, "no vocabulary", "tokenizer.save_pretrained")
    (folder / "vocab.txt").write_text("")
    refused(folder, "no vocabulary")


def test_tokenizer_without_padding(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"})
    )
    refused(folder, "no padding token", "pad_token")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    name = "encoder.layer.1.ffn.0.intermediate.dense.weight"
    edit_weights(folder, lambda tensors: tensors[f"mobilebert.{name}"][2].fill_(value))
    refused(folder, f"tensor '{name}' has 8 values", r"first at \[2, 0\]")


def test_float64_that_float32_cannot_hold(folder: Path) -> None:
    name = "mobilebert.embeddings.LayerNorm.bias"
    edit_weights(
        folder, lambda tensors: tensors.update({name: torch.full((16,), 1e300, dtype=torch.float64)})
    )
    refused(folder, "embeddings.LayerNorm.bias", "infinite")


def test_weights_that_do_not_fit(folder: Path) -> None:
    name = "mobilebert.encoder.layer.0.attention.self.query.weight"
    edit_weights(folder, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    refused(folder, "'encoder.layer.0.attention.self.query.weight' is int8", "quantised")
    edit_weights(folder, lambda tensors: tensors.update({name: torch.zeros(8, 9)}))
    refused(folder, r"shape \(8, 9\)", r"\(8, 8\)")
    edit_weights(folder, lambda tensors: tensors.pop(name))
    refused(folder, "lack 'encoder.layer.0.attention.self.query.weight'", "download the model again")
    edit_weights(folder, lambda tensors: tensors.clear() or tensors.update({"w": torch.zeros(1)}))
    refused(folder, "lack .* and 1?[0-9]+ more")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 2000, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, "model.safetensors: not a safetensors file, or damaged", "download the model again")


def test_git_lfs_pointer_in_the_place_of_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(folder, "git lfs pull")


@pytest.mark.parametrize(
    "index", [b"", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": "../model.safetensors"}}', b"[1]"]
)
def test_index_that_is_malformed(folder: Path, index: bytes) -> None:
    (folder / "model.safetensors").rename(folder / "elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(index)
    refused(folder, "not an index", "download")


def test_a_tensor_in_two_shards(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "b.safetensors")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})
    )
    refused(folder, "is in another file too")


def test_pickles_are_read_only_where_allowed(folder: Path, pristine: Path) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    refused(folder, "no weights here")
    torch.save(state, folder / "pytorch_model.bin")
    refused(folder, r"pytorch_model\.bin", "--allow-pickle", "safetensors")
    found = load(folder, allow_pickle=True)
    expected = load(pristine / "mobilebert").model.state_dict()
    got = found.model.state_dict()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert found.provenance["format"] == "pickle"
    assert found.provenance["weight_files"] == {"pytorch_model.bin": sha256(folder / "pytorch_model.bin")}


def test_mini_mobilebert_of_the_package_loads() -> None:
    found = load_checkpoint(Source())
    assert isinstance(found.model.config, MobileBertConfig)
    assert len(found.tokenizer) <= found.model.config.vocab_size


def test_a_tensor_that_is_there_twice_in_one_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    one = min(tensors, key=len)
    save_file({**tensors, "x" * len(one): tensors[one] + 1}, path)
    path.write_bytes(path.read_bytes().replace(b'"%s"' % (b"x" * len(one)), b'"%s"' % one.encode(), 1))
    refused(folder, f"tensor '{one}' is there twice")


def test_a_tensor_under_its_name_today_and_that_of_tensorflow(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if re.match(r"mobilebert\.encoder.*LayerNorm\.weight", name))
    save_file({**tensors, name.replace("weight", "gamma"): tensors[name].clone()}, path)
    refused(folder, f"'{name}'", "gamma'", "are the same one of the model")
