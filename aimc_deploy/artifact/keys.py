"""Keys and certificates to sign bundles with, as PEM files; each mistake has a message that says what to do.

The library that signs reads the files again by itself. It takes EC keys on three curves; what it says of
anything else would help few.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimc_deploy.artifact.files import reporting
from aimc_deploy.errors import SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.x509 import Certificate

PASSWORD = "AIMC_DEPLOY_KEY_PASSWORD"
"""Variable of the environment that holds the password of an encrypted key."""

CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
MAX_PEM_BYTES = 1024**2
_NEW_KEY = "make one with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`"
_NEEDED = f"keys on the elliptic curves {', '.join(CURVES.values())} sign: {_NEW_KEY}"


def private_key(path: Path, password: str | None = None) -> tuple[EllipticCurvePublicKey, bytes | None]:
    """The public half of a private key, and the password if it is needed to read the file.

    Raises:
        SignatureError: the file is no private EC key, or encrypted with another password.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    if b"-----BEGIN PUBLIC KEY" in data or b"-----BEGIN CERTIFICATE" in data:
        raise SignatureError(f"{path} holds nothing secret: signing needs the private key that belongs to it")
    given = None
    try:
        try:
            key: Any = load_pem_private_key(data, None)
        except TypeError:
            if password is None:
                raise SignatureError(
                    f"{path} is encrypted: put its password into the environment as {PASSWORD}"
                ) from None
            given = password.encode()
            key = load_pem_private_key(data, given)
    except ValueError as error:
        if given is not None:
            raise SignatureError(f"{path} cannot be decrypted with the password in {PASSWORD}") from None
        raise SignatureError(f"{path} is no PEM file of a private key ({_line(error)}): {_NEW_KEY}") from None
    return _checked(key.public_key(), path), given


def public_key(path: Path) -> EllipticCurvePublicKey:
    """A public key.

    Raises:
        SignatureError: the file is no public EC key.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        raise SignatureError(
            f"{path} is a private key: keep it secret, and give what "
            f"`openssl ec -in {path} -pubout -out public.pem` writes"
        )
    if b"-----BEGIN CERTIFICATE" in data:
        raise SignatureError(f"{path} is a certificate and no public key: give it with --root-certificate")
    try:
        return _checked(load_pem_public_key(data), path)
    except ValueError as error:
        raise SignatureError(f"{path} is no PEM file of a public key ({_line(error)})") from None


def certificates(path: Path) -> list[Certificate]:
    """The certificates in a file, one at least.

    Raises:
        SignatureError: there are none, or one is damaged.
    """
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise SignatureError(f"{path} is no PEM file of certificates ({_line(error)})") from None


def certified_key(path: Path) -> EllipticCurvePublicKey:
    """The public key that the first certificate in a file is for; raises as :func:`public_key`."""
    return _checked(certificates(path)[0].public_key(), path)


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key as the PEM file that OpenSSL writes: what ``sha256sum`` says of that file."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _checked(key: Any, path: Path) -> EllipticCurvePublicKey:
    curve = getattr(key, "curve", None)
    if curve is None:
        kind = type(key).__name__.removesuffix("PublicKey")
        raise SignatureError(f"{path} is for {kind}, and only {_NEEDED}")
    if curve.name not in CURVES:
        raise SignatureError(f"{path} is for the curve {curve.name}, and only {_NEEDED}")
    return key


def _read(path: Path) -> bytes:
    # A key may be what a link or a pipe of the user's own leads to, but the library opens it once more.
    with reporting(f"{path} cannot be read"):
        if path.exists() and not path.is_file():
            raise SignatureError(f"{path} is no regular file: give a PEM file")
        with path.open("rb") as stream:
            data = stream.read(MAX_PEM_BYTES + 1)
    if len(data) > MAX_PEM_BYTES:
        raise SignatureError(f"{path} is larger than any key or certificate: give a PEM file")
    return data


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__
