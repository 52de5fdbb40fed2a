"""The file of a signature: an in-toto statement in a DSSE envelope, in the JSON of a Sigstore bundle.

It comes from whoever sent the bundle, so it is read as any file of a bundle is. What it holds is true only
once the library has checked the signature in it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aimc_deploy.artifact.files import open_regular, parse_json, printable, reporting
from aimc_deploy.errors import SignatureError

Kind = Literal["key", "certificate", "Sigstore"]

MAX_SIGNATURE_BYTES = 16 * 1024**2
_KINDS: dict[str, Kind] = {
    "publicKey": "key",
    "x509CertificateChain": "certificate",
    "certificate": "Sigstore",
}
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle"


@dataclass(frozen=True)
class Envelope:
    """A signature as it was read.

    Attributes:
        data: the whole file.
        kind: what it says it was made with.
        material: what it gives to check it with.
        payload: the statement that is signed, in base64.
    """

    data: bytes
    kind: Kind
    material: Any
    payload: str

    @property
    def key_sha256(self) -> str | None:
        """Of the PEM file of the public key, as a signature with a key tells it."""
        match self.material:
            case {"hint": str(hint)}:
                return printable(hint)
        return None

    @property
    def signer(self) -> str:
        """Who made it: :attr:`key_sha256`, or the subject of the certificate."""
        if self.kind == "key":
            return self.key_sha256 or "unknown"
        from cryptography.x509 import load_der_x509_certificate

        first = base64.b64decode(self.material["certificates"][0]["rawBytes"])
        return printable(load_der_x509_certificate(first).subject.rfc4514_string())

    def digests(self) -> dict[str, str] | None:
        """SHA-256 of every file by its name; None if it pins something else, such as parts of files."""
        predicate = parse_json(base64.b64decode(self.payload), "the signed statement").get("predicate") or {}
        how = predicate.get("serialization", {})
        if (how.get("method"), how.get("hash_type")) != ("files", "sha256"):
            return None
        return {part["name"]: part["digest"] for part in predicate.get("resources", ())}


def read_envelope(where: Path) -> Envelope:
    """The signature in a file.

    Raises:
        SignatureError: there is none, or it is something else.
        ArtifactError: it is a link, a device or too large, or no JSON.
    """
    if not os.path.lexists(where):
        raise SignatureError(
            f"there is no signature {where}: sign with `aimc-deploy sign`, or name the place with --signature"
        )
    with open_regular(where.parent, where.name) as stream, reporting(f"{where} cannot be read"):
        data = stream.read(MAX_SIGNATURE_BYTES + 1)
    if len(data) > MAX_SIGNATURE_BYTES:
        raise SignatureError(f"{where} is larger than the {MAX_SIGNATURE_BYTES:,} bytes allowed")
    return parse_envelope(data, where)


def parse_envelope(data: bytes, where: Path) -> Envelope:
    """The signature in the bytes of a file; raises as :func:`read_envelope`."""
    content = parse_json(data, where)
    match content:
        case {
            "mediaType": str(media),
            "verificationMaterial": {**material},
            "dsseEnvelope": {"payload": str(payload)},
        } if media.startswith(_MEDIA_TYPE) and len(content) == 3 and (kind := _kind(material)) is not None:
            (held,) = (value for name, value in material.items() if name in _KINDS)
            return Envelope(data, kind, held, payload)
    raise SignatureError(f"{where} is no signature of a model: see `aimc-deploy sign`")


def _kind(material: Mapping[str, Any]) -> Kind | None:
    """What the material tells of; None unless it is one thing: another reader could take the other."""
    told = [_KINDS.get(name) for name in material if name != "tlogEntries"]
    return told[0] if len(told) == 1 else None
