"""Keys and certificates that do, and what is said of those that do not."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from small_keys import write_chain, write_keys

from aimc_deploy.artifact.keys import certificates, certified_key, fingerprint, private_key, public_key
from aimc_deploy.errors import ArtifactError, SignatureError


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_is_known_by_the_sha256_of_its_public_file(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    private, public = write_keys(tmp_path, key=ec.generate_private_key(curve))
    key, needed = private_key(private, "not needed")
    assert needed is None
    told = hashlib.sha256(public.read_bytes()).hexdigest()
    assert fingerprint(key) == fingerprint(public_key(public)) == told


def test_keys_that_openssl_makes_do(tmp_path: Path) -> None:
    made, public = tmp_path / "key.pem", tmp_path / "public.pem"
    for parameters in ([], ["-noout"]):
        command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", *parameters, "-out", made]
        subprocess.run(command, check=True)
        subprocess.run(
            ["openssl", "ec", "-in", made, "-pubout", "-out", public], check=True, capture_output=True
        )
        assert fingerprint(private_key(made)[0]) == hashlib.sha256(public.read_bytes()).hexdigest()


def test_a_password_is_asked_for_where_one_is_needed(tmp_path: Path) -> None:
    locked, public = write_keys(tmp_path, password=b"correct horse")
    with pytest.raises(SignatureError, match=r"is encrypted: put its .* as AIMC_DEPLOY_KEY_PASSWORD"):
        private_key(locked)
    with pytest.raises(SignatureError, match="cannot be decrypted with the password in AIMC_DEPLOY_KEY"):
        private_key(locked, "wrong")
    key, needed = private_key(locked, "correct horse")
    assert needed == b"correct horse"
    assert fingerprint(key) == fingerprint(public_key(public))


OTHERS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "the curve secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_keys_of_another_kind(tmp_path: Path, kind: str) -> None:
    pair = write_keys(tmp_path, key=OTHERS[kind]())
    for path, read in zip(pair, (private_key, public_key), strict=True):
        expected = f"{path} is for {kind}, and only keys on the elliptic curves P-256, P-384, P-521 sign: "
        with pytest.raises(SignatureError, match=re.escape(expected)):
            read(path)


def test_one_file_given_for_another(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = write_keys(tmp_path, key=key)
    chain, root = write_chain(tmp_path, key)
    traditional = tmp_path / "traditional.pem"
    traditional.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    assert fingerprint(private_key(traditional)[0]) == fingerprint(certified_key(chain))
    for path in (public, root):
        with pytest.raises(SignatureError, match="holds nothing secret: signing needs the private key"):
            private_key(path)
    for path in (private, traditional, write_keys(tmp_path, "locked", password=b"a")[0]):
        with pytest.raises(SignatureError, match=r"is a private key: keep it secret, .*-pubout"):
            public_key(path)
    with pytest.raises(SignatureError, match=r"is a certificate and no public key: .* --root-certificate"):
        public_key(root)
    for path in (private, public):
        with pytest.raises(SignatureError, match="is no PEM file of certificates"):
            certificates(path)


def of_ssh(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no key\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN EC PRIVATE KEY-----\n",
        bytes(range(256)),
        of_ssh(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(data)
    with pytest.raises(
        SignatureError, match=r"key\.pem is no PEM file of a private key \(.+\): make one with"
    ):
        private_key(tmp_path / "key.pem")
    with pytest.raises(SignatureError, match=r"key\.pem is (no PEM file of a public key|a private key)"):
        public_key(tmp_path / "key.pem")
    with pytest.raises(SignatureError, match=r"key\.pem is no PEM file of certificates \(.+\)"):
        certificates(tmp_path / "key.pem")


@pytest.mark.parametrize("read", [private_key, public_key, certificates])
def test_what_is_no_file(tmp_path: Path, read: Any) -> None:
    with pytest.raises(ArtifactError, match=r"none\.pem cannot be read: No such file or directory"):
        read(tmp_path / "none.pem")
    with pytest.raises(SignatureError, match="is no regular file: give a PEM file"):
        read(tmp_path)
    (tmp_path / "large.pem").write_bytes(bytes(1024**2 + 1))
    with pytest.raises(SignatureError, match="is larger than any key or certificate"):
        read(tmp_path / "large.pem")
    # A secret is often a link to where it is mounted.
    (tmp_path / "loop.pem").symlink_to(tmp_path / "loop.pem")
    with pytest.raises(ArtifactError, match=r"loop\.pem cannot be read"):
        read(tmp_path / "loop.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = write_keys(tmp_path, key=key)
    chain, _ = write_chain(tmp_path, key)
    (tmp_path / "link.pem").symlink_to({private_key: private, public_key: public}.get(read, chain))
    assert read(tmp_path / "link.pem")
