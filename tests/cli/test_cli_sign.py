"""``sign`` and ``verify --key`` as a person or a pipeline meets them."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest
from command_line import Ended, call
from cryptography.hazmat.primitives.asymmetric import ec
from small_bundle import create
from small_keys import write_chain, write_keys


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default bundle of the folder that the test runs in, with ``key.pem`` and ``key.pub.pem``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AIMC_DEPLOY_KEY_PASSWORD", raising=False)
    write_keys(tmp_path)
    return create(Path("aimc-bundle")).path


def refused(*arguments: str | Path) -> str:
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    return ended.message


def test_sign_and_verify_say_what_they_did_and_what_comes_next(bundle: Path) -> None:
    told = hashlib.sha256(Path("key.pub.pem").read_bytes()).hexdigest()
    assert call("sign", "--key", "key.pem") == Ended(
        0, f"aimc-bundle.sig: 6 files signed with key {told}\n", "next: aimc-deploy verify --key PUBLIC.pem\n"
    )
    assert call("verify", "--key", "key.pub.pem") == Ended(
        0,
        f"aimc-bundle: 5 files, all as the manifest says\naimc-bundle.sig: signed with key {told}\n",
        "next: aimc-deploy inspect\n",
    )
    shutil.move(bundle, "my bundle")
    ended = call("sign", "--key", "key.pem", "-b", "my bundle", "--signature", "a b.sig")
    assert (
        ended.err == "next: aimc-deploy verify --key PUBLIC.pem --bundle 'my bundle' --signature 'a b.sig'\n"
    )
    assert call("verify", "--key", "key.pub.pem", "-b", "my bundle", "--signature", "a b.sig").code == 0


def test_both_speak_json(bundle: Path) -> None:
    told = hashlib.sha256(Path("key.pub.pem").read_bytes()).hexdigest()
    ended = call("sign", "--key", "key.pem", "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    of = {"made_with": "key", "signer": told}
    assert ended.json() == {"bundle": "aimc-bundle", "signature": "aimc-bundle.sig", "files": 6, **of}
    ended = call("verify", "--key", "key.pub.pem", "--format", "json")
    whole = {"bundle": "aimc-bundle", "files": 5, "problems": []}
    assert (ended.code, ended.err) == (0, "")
    assert ended.json() == {**whole, "signature": {"file": "aimc-bundle.sig", "problem": None, **of}}

    Path("aimc-bundle.sig").unlink()
    ended = call("verify", "--key", "key.pub.pem", "--format", "json")
    assert ended.code == 2
    assert ended.message.startswith("error: there is no signature aimc-bundle.sig: ")
    of = {"made_with": None, "signer": None, "problem": ended.message.removeprefix("error: ")}
    assert ended.json() == {**whole, "signature": {"file": "aimc-bundle.sig", **of}}
    for ended in (call("sign", "--key", "key.pem", "--format", "quiet"), call("verify", "--format", "quiet")):
        assert ended == Ended(0, "", "")


def test_a_signature_that_nobody_asked_for_is_told_of(bundle: Path) -> None:
    assert call("sign", "--key", "key.pem").code == 0
    ended = call("verify", "--format", "json")
    assert ended.json()["signature"] is None
    assert ended.err == (
        "aimc-bundle.sig was not checked: --key or --root-certificate says who must have signed\n"
    )


def test_a_bundle_that_was_damaged_since_is_damaged(bundle: Path) -> None:
    assert call("sign", "--key", "key.pem").code == 0
    (bundle / "config.json").write_text("{}")
    ended = call("verify", "--key", "key.pub.pem", "--format", "json")
    assert ended.code == 2
    assert ended.message.startswith("error: aimc-bundle is damaged: config.json has 2 bytes and not ")
    assert ended.json()["signature"]["problem"] == ended.message.removeprefix("error: ")
    assert "is damaged and was not signed: config.json has 2 bytes" in refused("sign", "--key", "key.pem")


def test_a_stale_signature_is_refused_and_replaced(bundle: Path) -> None:
    assert call("sign", "--key", "key.pem").code == 0
    create(bundle, 2, overwrite=True)
    ended = call("verify", "--key", "key.pub.pem")
    assert (ended.code, ended.out) == (2, "aimc-bundle: 5 files, all as the manifest says\n")
    assert "aimc-bundle.sig is of another state of aimc-bundle: hardware.json was changed; " in ended.message
    assert "sign it again with `aimc-deploy sign`" in ended.message
    assert call("sign", "--key", "key.pem").code == 0
    assert call("verify", "--key", "key.pub.pem").code == 0


def test_the_environment_holds_the_password(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, public = write_keys(Path(), "locked", password="sésame".encode())
    assert "put its password into the environment as AIMC_DEPLOY_KEY_PASSWORD" in refused(
        "sign", "--key", locked
    )
    monkeypatch.setenv("AIMC_DEPLOY_KEY_PASSWORD", "wrong")
    assert "cannot be decrypted with the password in AIMC_DEPLOY_KEY_PASSWORD" in refused(
        "sign", "--key", locked
    )
    monkeypatch.setenv("AIMC_DEPLOY_KEY_PASSWORD", "sésame")
    assert call("sign", "--key", locked).code == 0
    assert call("verify", "--key", public).code == 0
    assert call("sign", "--key", "key.pem").code == 0, "a key without one needs none"


def test_a_certificate_is_checked_by_its_root(bundle: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write_keys(Path(), "lab", key)
    chain, root = write_chain(Path(), key)
    ended = call("sign", "--key", "lab.pem", "--certificate", chain)
    assert ended == Ended(
        0,
        "aimc-bundle.sig: 6 files signed with certificate CN=Lab\n",
        "next: aimc-deploy verify --root-certificate ROOT.pem\n",
    )
    ended = call("verify", "--root-certificate", root)
    assert (ended.code, ended.out.splitlines()[1]) == (0, "aimc-bundle.sig: signed with certificate CN=Lab")


def test_options_that_do_not_go_together(bundle: Path) -> None:
    pair = ("--key", "key.pub.pem", "--root-certificate", "key.pub.pem")
    assert "are two ways to check a signature: give one of them" in refused("verify", *pair)
    assert "--signature needs --key or --root-certificate" in refused("verify", "--signature", "a.sig")
    ended = call("sign")
    assert ended.code == 2
    assert "Missing option '--key'" in ended.err


def test_mistakes_with_keys_are_told_by_both(bundle: Path) -> None:
    assert "none.pem cannot be read: No such file or directory" in refused("sign", "--key", "none.pem")
    assert "key.pub.pem holds nothing secret" in refused("sign", "--key", "key.pub.pem")
    assert not Path("aimc-bundle.sig").exists()
    assert call("sign", "--key", "key.pem").code == 0
    for key, message in {
        "none.pem": "none.pem cannot be read: No such file or directory",
        "key.pem": "key.pem is a private key: keep it secret",
        "aimc-bundle/config.json": "config.json is no PEM file of a public key",
    }.items():
        ended = call("verify", "--key", key)
        assert ended.code == 2
        assert message in ended.message


def test_without_the_extra_both_say_how_to_get_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("sign", "--key", "key.pem").code == 0
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for command in (("sign", "--key", "key.pem"), ("verify", "--key", "key.pub.pem")):
        ended = call(*command)
        assert ended.code == 2
        assert ended.message.endswith("pip install 'aimc-deploy[sign]'")
    assert call("verify").code == 0, "nothing else needs it"


def test_other_commands_take_a_signed_bundle(tmp_path: Path, bundle_once: Path) -> None:
    copy = Path(shutil.copytree(bundle_once, tmp_path / "b"))
    key, public = write_keys(tmp_path)
    assert call("sign", "--key", key, "-b", copy).code == 0
    for command in ("inspect", "verify", "cost"):
        assert call(command, "-b", copy).code == 0
    assert call("verify", "--key", public, "-b", copy).code == 0
