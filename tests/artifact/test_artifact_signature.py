"""A signed bundle: what its signature stands for and is refused for, and the library's own word on it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying
from small_bundle import create, sealed, tree, write_adapter
from small_keys import write_chain, write_keys

from aimc_deploy.artifact import signature
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.signature import check, sign, signature_file
from aimc_deploy.errors import AimcError, ArtifactError, SignatureError

Change = Callable[[Path], object]

pytestmark = pytest.mark.usefixtures("no_flush")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path)


@pytest.fixture
def signed(bundle: Bundle, keys: tuple[Path, Path]) -> Bundle:
    """A bundle with an adapter and results, and its signature beside it."""
    bundle.put("adapters/sst2", write_adapter(1))
    bundle.put_files({"results/sst2.csv": b"adapter,chip\nsst2,0\n"})
    sign(bundle.path, keys[0])
    return bundle


def refused(path: Path, public: Path) -> str | None:
    """What a bundle is refused with, checked as ``aimc-deploy verify`` does; None if it is taken."""
    try:
        opened = Bundle.open(path, check=False)
        if problems := opened.verify():
            return "; ".join(problems)
        check(opened, key=public)
    except AimcError as error:
        return str(error)
    return None


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signed_bundle_is_as_it_was_and_tells_whose_key_it_was(
    bundle: Bundle, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    private, public = write_keys(tmp_path, key=ec.generate_private_key(curve))
    before = tree(bundle.path)
    made = sign(bundle.path, private)
    assert tree(bundle.path) == before
    assert made.file == signature_file(bundle.path) == tmp_path / "bundle.sig"
    assert made.signer == hashlib.sha256(public.read_bytes()).hexdigest()
    assert (made.files, made.made_with, made.by) == (len(before), "key", f"key {made.signer}")
    assert check(Bundle.open(bundle.path), key=public) == made


def test_the_signature_lies_beside_a_bundle_that_has_no_name(
    bundle: Bundle, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.path)
    assert sign(Path("."), keys[0]).file == bundle.path.with_name("bundle.sig")
    assert check(Bundle.open(Path(".")), key=keys[1]).files == 6


def library_refuses(path: Path, public: Path) -> str | None:
    """What model-signing's own command says against a bundle and its signature; None if it takes them."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "model_signing", "verify", "key", path),
            *("--signature", signature_file(path), "--public_key", public),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ("Verification succeeded" in done.stdout)
    return None if done.returncode == 0 else done.stderr


def test_the_library_takes_what_we_sign_and_refuses_it_changed(
    signed: Bundle, keys: tuple[Path, Path]
) -> None:
    assert (signed.path / ".lock").exists()
    (signed.path / ".cache" / "huggingface").mkdir(parents=True)
    (signed.path / ".cache" / "huggingface" / "tag").write_text("of a download")
    assert library_refuses(signed.path, keys[1]) is None
    config = verifying.Config().use_elliptic_key_verifier(public_key=keys[1])
    config.verify(signed.path, signature_file(signed.path))
    (signed.path / "results" / "sst2.csv").write_text("other\n")
    assert "results/sst2.csv" in (library_refuses(signed.path, keys[1]) or "")


def of_library(bundle: Bundle, key: Path, config: Any) -> None:
    config = signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(config)
    config.sign(bundle.path, signature_file(bundle.path))


def test_what_the_library_signs_is_taken(signed: Bundle, keys: tuple[Path, Path]) -> None:
    of_library(signed, keys[0], hashing.Config().set_ignored_paths(paths=[".lock"]))
    assert refused(signed.path, keys[1]) is None
    of_library(signed, keys[0], hashing.Config())
    assert ".lock is no part of it" in (refused(signed.path, keys[1]) or "")


def test_a_signature_cannot_have_a_file_ignored(signed: Bundle, keys: tuple[Path, Path]) -> None:
    of_library(signed, keys[0], hashing.Config().set_ignored_paths(paths=[".lock", "tiles.safetensors"]))
    verifying.Config().use_elliptic_key_verifier(public_key=keys[1]).verify(
        signed.path, signature_file(signed.path)
    )
    assert "tiles.safetensors is new" in (refused(signed.path, keys[1]) or "")


@pytest.mark.parametrize(
    "config",
    [
        hashing.Config().use_file_serialization(hashing_algorithm="blake3"),
        hashing.Config().use_shard_serialization(),
    ],
)
def test_other_hashes_than_those_of_the_manifest_are_refused(
    bundle: Bundle, keys: tuple[Path, Path], config: Any
) -> None:
    of_library(bundle, keys[0], config)
    assert "does not pin each file by its SHA-256: sign again" in (refused(bundle.path, keys[1]) or "")


def test_a_bit_that_flips_in_any_file_is_found(signed: Bundle, keys: tuple[Path, Path]) -> None:
    draw = random.Random(0)
    names = [name for name in tree(signed.path) if name != ".lock"]
    assert {"manifest.json", "tiles.safetensors", "adapters/sst2/adapter.json", "results/sst2.csv"} < set(
        names
    )
    for name in names:
        file = signed.path / name
        whole = file.read_bytes()
        for place in {0, len(whole) - 2, *(draw.randrange(len(whole) - 1) for _ in range(3))}:
            data = bytearray(whole)
            data[place] ^= 1 << draw.randrange(8)
            file.write_bytes(data)
            assert name in (refused(signed.path, keys[1]) or ""), (name, place)
        file.write_bytes(whole)
    assert refused(signed.path, keys[1]) is None


def test_a_change_under_hashes_that_fit_is_found_by_the_signature(
    signed: Bundle, keys: tuple[Path, Path]
) -> None:
    before = tree(signed.path)
    for name in signed.manifest.files:
        data = bytearray((signed.path / name).read_bytes())
        data[len(data) // 2] ^= 1
        sealed(signed.path, {name: bytes(data)})
        assert Bundle.open(signed.path).verify() == []
        message = refused(signed.path, keys[1])
        assert message == (
            f"{signature_file(signed.path)} is of another state of {signed.path}: "
            + "; ".join(f"{part} was changed" for part in sorted(["manifest.json", name]))
            + "; if this was you, sign it again with `aimc-deploy sign`, and if not, do not use it"
        )
        for back in (name, "manifest.json"):
            (signed.path / back).write_bytes(before[back])
    assert refused(signed.path, keys[1]) is None


def test_a_bit_that_flips_in_the_signature_is_found_or_means_nothing(
    signed: Bundle, keys: tuple[Path, Path]
) -> None:
    file = signature_file(signed.path)
    whole, draw = file.read_bytes(), random.Random(0)

    def meaning(data: bytes) -> tuple[bytes, bytes]:
        envelope = json.loads(data)["dsseEnvelope"]
        return base64.b64decode(envelope["payload"]), base64.b64decode(envelope["signatures"][0]["sig"])

    taken = 0
    text = range(whole.index(b'"payload":"') + 11, whole.index(b'","payloadType"'))
    places = [
        place for place in range(len(whole)) if place not in text or place % 50 == 0 or place > text[-8]
    ]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        if refused(signed.path, keys[1]) is None:
            taken += 1
            assert meaning(bytes(data)) == meaning(whole)
    assert taken < len(places) / 20
    file.write_bytes(whole)
    assert refused(signed.path, keys[1]) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: (path / "vocab.txt").unlink(), "vocab.txt is missing"),
        (lambda path: (path / "more.json").write_text("{}"), "more.json is not in the manifest"),
        (lambda path: (path / "model.sig").write_text("{}"), "model.sig is not in the manifest"),
        (
            lambda path: (
                (path / "vocab.txt").rename(path.with_name("away"))
                and (path / "vocab.txt").symlink_to(path.with_name("away"))
            ),
            "vocab.txt is a symbolic link",
        ),
        (
            lambda path: path.with_name("second").hardlink_to(path / "vocab.txt"),
            "vocab.txt has a second name elsewhere",
        ),
    ],
)
def test_files_that_are_missing_extra_or_links(
    signed: Bundle, keys: tuple[Path, Path], change: Change, problem: str
) -> None:
    change(signed.path)
    assert problem in (refused(signed.path, keys[1]) or "")
    before = signature_file(signed.path).read_bytes()
    with pytest.raises(ArtifactError, match=f"is damaged and was not signed: .*{problem}"):
        sign(signed.path, keys[0])
    assert signature_file(signed.path).read_bytes() == before


def test_an_adapter_or_results_make_a_signature_stale_until_it_is_signed_again(
    signed: Bundle, keys: tuple[Path, Path]
) -> None:
    signed.put("adapters/cola", write_adapter(2))
    told = refused(signed.path, keys[1]) or ""
    assert "is of another state of" in told
    for name in ("adapters/cola/adapter.json", "adapters/cola/adapter_model.safetensors"):
        assert f"{name} is new" in told
    assert "manifest.json was changed" in told
    sign(signed.path, keys[0])
    assert refused(signed.path, keys[1]) is None
    signed.put("adapters/cola", write_adapter(3))
    assert "adapters/cola/adapter.json was changed" in (refused(signed.path, keys[1]) or "")
    signed.put("results", lambda folder: None)
    assert "results/sst2.csv is gone" in (refused(signed.path, keys[1]) or "")


def test_many_changes_are_counted(signed: Bundle, keys: tuple[Path, Path]) -> None:
    signed.put("adapters/cola", write_adapter(2, files=12))
    assert (refused(signed.path, keys[1]) or "").count(" is new") == 5
    assert "; 8 more; if this was you" in (refused(signed.path, keys[1]) or "")


def test_a_bundle_mapped_anew_is_not_the_one_that_was_signed(signed: Bundle, keys: tuple[Path, Path]) -> None:
    create(signed.path, 2, overwrite=True)
    assert "tiles.safetensors was changed" in (refused(signed.path, keys[1]) or "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda bundle: bundle.put("adapters/sst2", write_adapter(7)), lambda bundle: None),
        (lambda bundle: None, lambda bundle: bundle.put_files({"results/more.csv": b"a\n"})),
        (lambda bundle: (bundle.path / "vocab.txt").write_text("other\n"), lambda bundle: None),
    ],
    ids=["before it is hashed", "after it was hashed", "without its manifest"],
)
def test_a_bundle_that_changes_while_it_is_signed(
    signed: Bundle,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[Bundle], object],
    after: Callable[[Bundle], object],
) -> None:
    there = signature_file(signed.path).read_bytes()
    original = hashing.Config.hash

    def hashed(*args: Any, **named: Any) -> Any:
        before(signed)
        found = original(*args, **named)
        after(signed)
        return found

    monkeypatch.setattr(hashing.Config, "hash", hashed)
    with pytest.raises(ArtifactError, match="was changed while it was being signed: run this again"):
        sign(signed.path, keys[0])
    assert signature_file(signed.path).read_bytes() == there


def test_a_file_that_goes_while_it_is_hashed(signed: Bundle, keys: tuple[Path, Path]) -> None:
    opened = Bundle.open(signed.path)
    (signed.path / "vocab.txt").unlink()
    with pytest.raises(ArtifactError, match=r"bundle cannot be read: .*vocab\.txt"):
        check(opened, key=keys[1])


def test_a_signature_by_another_key(signed: Bundle, keys: tuple[Path, Path], tmp_path: Path) -> None:
    other, public = write_keys(tmp_path, "other")
    own, theirs = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (keys[1], public))
    assert refused(signed.path, public) == (
        f"{signature_file(signed.path)} was made with another key: its public key has the SHA-256 {own}, "
        f"and {public} has {theirs}"
    )
    # Whoever writes our key's name into a signature of another one has no signature of our key.
    sign(signed.path, other)
    file = signature_file(signed.path)
    file.write_text(file.read_text().replace(theirs, own))
    assert "was changed, or is not by the key that it names: do not use" in (
        refused(signed.path, keys[1]) or ""
    )


def test_a_certificate_says_who_signed(signed: Bundle, keys: tuple[Path, Path], tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private, _ = write_keys(tmp_path, "lab", key)
    chain, root = write_chain(tmp_path, key)
    made = sign(signed.path, private, certificate=chain)
    assert made.by == "certificate CN=Lab"
    assert check(Bundle.open(signed.path), root=root) == made
    verifying.Config().use_certificate_verifier(certificate_chain=[root]).verify(signed.path, made.file)

    stranger = tmp_path / "stranger"
    stranger.mkdir()
    _, other_root = write_chain(stranger, key)
    with pytest.raises(SignatureError, match=rf"is no signature that {other_root} vouches for: "):
        check(Bundle.open(signed.path), root=other_root)
    assert "was made with a certificate: check it with --root-certificate" in (
        refused(signed.path, keys[1]) or ""
    )
    signed.put_files({"results/sst2.csv": b"adapter\n"})
    with pytest.raises(SignatureError, match=r"is of another state .*results/sst2\.csv was changed"):
        check(Bundle.open(signed.path), root=root)
    sign(signed.path, keys[0])
    with pytest.raises(
        SignatureError, match="was made with a key without a certificate: check it with --key"
    ):
        check(Bundle.open(signed.path), root=root)


def test_a_certificate_that_has_run_out_since_is_good(signed: Bundle, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain, root = write_chain(tmp_path, key, days=1)
    sign(signed.path, write_keys(tmp_path, "lab", key)[0], certificate=chain)
    assert check(Bundle.open(signed.path), root=root).signer == "CN=Lab"


def test_a_certificate_that_is_not_for_signatures(signed: Bundle, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain, root = write_chain(tmp_path, key, signs=False)
    sign(signed.path, write_keys(tmp_path, "lab", key)[0], certificate=chain)
    with pytest.raises(SignatureError, match="cannot be used for signing"):
        check(Bundle.open(signed.path), root=root)


def test_a_certificate_that_does_not_fit_the_key(
    bundle: Bundle, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain, _ = write_chain(tmp_path, key)
    with pytest.raises(SignatureError, match=rf"{chain} is of another key than {keys[0]}"):
        sign(bundle.path, keys[0], certificate=chain)
    with pytest.raises(SignatureError, match="is no PEM file of certificates"):
        sign(bundle.path, keys[0], certificate=keys[1])
    locked, _ = write_keys(tmp_path, "locked", key, b"secret")
    with pytest.raises(SignatureError, match="takes no such key with a certificate: decrypt it"):
        sign(bundle.path, locked, certificate=chain, password="secret")
    assert not signature_file(bundle.path).exists()


def test_where_a_signature_must_not_go(bundle: Bundle, keys: tuple[Path, Path], tmp_path: Path) -> None:
    before = tree(tmp_path)
    with pytest.raises(SignatureError, match="is in the bundle, which holds only what its manifest lists"):
        sign(bundle.path, keys[0], to=bundle.path / "results" / "a.sig")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for other in (keys[1], tmp_path, tmp_path / "link"):
        with pytest.raises(SignatureError, match="exists and is no signature: choose another place"):
            sign(bundle.path, keys[0], to=other)
    with pytest.raises(ArtifactError, match="cannot be written: No such file or directory"):
        sign(bundle.path, keys[0], to=tmp_path / "no" / "such.sig")
    assert tree(tmp_path) == before
    made = sign(bundle.path, keys[0], to=tmp_path / "elsewhere")
    assert check(bundle, key=keys[1], at=made.file) == made


def without_hint(content: dict[str, Any]) -> None:
    content["verificationMaterial"]["publicKey"] = {}


def twice(content: dict[str, Any]) -> None:
    content["verificationMaterial"]["x509CertificateChain"] = {"certificates": []}


def of_sigstore(content: dict[str, Any]) -> None:
    content["verificationMaterial"] = {"certificate": {"rawBytes": ""}, "tlogEntries": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_hint, "does not say which key it was made with: sign again"),
        (twice, "is no signature of a model: see `aimc-deploy sign`"),
        (of_sigstore, "was made with Sigstore, which needs the network: check it with `model_signing verify"),
        (lambda content: content.update(mediaType="text/plain"), "is no signature of a model"),
        (lambda content: content.pop("dsseEnvelope"), "is no signature of a model"),
        (lambda content: content.update(more=1), "is no signature of a model"),
        (lambda content: content["dsseEnvelope"].update(payload="%"), "was changed, or is not by the key"),
        (lambda content: content["dsseEnvelope"].update(payload=""), "was changed, or is not by the key"),
        (lambda content: content["dsseEnvelope"].update(signatures=[]), "is no signature that "),
        (
            lambda content: content["dsseEnvelope"]["signatures"][0].update(sig="AAAA"),
            "was changed, or is not",
        ),
        (lambda content: content["dsseEnvelope"].update(payloadType="text/plain"), "is no signature that "),
    ],
)
def test_a_signature_of_another_shape(
    signed: Bundle, keys: tuple[Path, Path], change: Callable[[dict[str, Any]], object], message: str
) -> None:
    file = signature_file(signed.path)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    assert message in (refused(signed.path, keys[1]) or "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no valid JSON"),
        (b"\x80\x04K\x01.", "is no valid JSON"),
        (b"[]", "is no signature of a model"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b"[" * 100_000, "nested more than 64 levels deep"),
        (b" " * (16 * 1024**2 + 1), "is larger than the 16,777,216 bytes allowed"),
    ],
)
def test_a_file_that_is_no_signature(
    signed: Bundle, keys: tuple[Path, Path], data: bytes, message: str
) -> None:
    signature_file(signed.path).write_bytes(data)
    assert message in (refused(signed.path, keys[1]) or "")


def test_a_signature_that_is_missing_or_a_link(
    signed: Bundle, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = signature_file(signed.path)
    file.rename(tmp_path / "away")
    assert refused(signed.path, keys[1]) == (
        f"there is no signature {file}: sign with `aimc-deploy sign`, or name the place with --signature"
    )
    file.symlink_to(tmp_path / "away")
    assert "is a symbolic link" in (refused(signed.path, keys[1]) or "")


def test_without_the_library_it_is_said_how_to_get_it(
    signed: Bundle, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for step in (
        lambda: sign(signed.path, keys[0]),
        lambda: check(signed, key=keys[1]),
    ):
        with pytest.raises(SignatureError, match=r"pip install 'aimc-deploy\[sign\]'$"):
            step()


def test_one_of_key_and_root_is_asked_for(signed: Bundle, keys: tuple[Path, Path]) -> None:
    for given in ({}, {"key": keys[1], "root": keys[1]}):
        with pytest.raises(ValueError, match="either a key or root certificates"):
            signature.check(signed, **given)
