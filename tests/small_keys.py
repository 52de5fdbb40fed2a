"""Keys and certificates to sign with, as PEM files."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

START = datetime(2020, 1, 1, tzinfo=timezone.utc)


def write_keys(
    folder: Path, name: str = "key", key: Any = None, password: bytes | None = None
) -> tuple[Path, Path]:
    """The files of a private key, a new one on P-256 if none is given, and of its public key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    locked = NoEncryption() if password is None else BestAvailableEncryption(password)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def certificate(
    name: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    *,
    ca: bool = False,
    signs: bool = True,
    days: int = 10_000,
) -> bytes:
    """A certificate as PEM.

    Args:
        ca: it may vouch for others.
        signs: its key may be used for signatures.
    """
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, part)]) for part in (name, issuer)]
    usage = dict.fromkeys(
        (
            *("content_commitment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(named[0])
        .issuer_name(named[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not ca, key_encipherment=not signs, key_cert_sign=ca, **usage
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def write_chain(folder: Path, key: Any, **leaf: Any) -> tuple[Path, Path]:
    """The files of a key's certificate with the one above it, and of the root above both."""
    root_key, middle_key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    chain, root = folder / "chain.pem", folder / "root.pem"
    root.write_bytes(certificate("Root", root_key, "Root", root_key, ca=True))
    chain.write_bytes(
        certificate("Lab", key, "Middle", middle_key, **leaf)
        + certificate("Middle", middle_key, "Root", root_key, ca=True)
    )
    return chain, root
