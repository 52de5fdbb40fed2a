"""Signatures of bundles: who vouches for the files, in the format of OpenSSF Model Signing.

A signature lies beside the bundle, because a bundle holds nothing that its manifest does not list. It pins
the SHA-256 of the manifest and of every file, so it stands for one state of the bundle and is refused for
any other. The library does the cryptography, and hashes what it compares; which files those are is said
here: all that the manifest lists, whatever a signature asks to be ignored.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aimc_deploy.artifact.bundle import Bundle, companion
from aimc_deploy.artifact.envelope import Envelope, parse_envelope, read_envelope
from aimc_deploy.artifact.files import LOCK, printable, reporting, write_atomic
from aimc_deploy.artifact.keys import certificates, certified_key, fingerprint, private_key, public_key
from aimc_deploy.artifact.manifest import MANIFEST, is_file_name, read_manifest
from aimc_deploy.errors import ArtifactError, SignatureError

if TYPE_CHECKING:
    from model_signing.manifest import Manifest as Hashed

NOT_CONTENT = (LOCK, ".cache")
"""What may be in the folder beside its content: our lock, and what the hub's client leaves of a download."""

_INSTEAD = {
    "key": "a key without a certificate: check it with --key",
    "certificate": "a certificate: check it with --root-certificate",
    "Sigstore": "Sigstore, which needs the network: check it with `model_signing verify sigstore`",
}


@dataclass(frozen=True)
class Signature:
    """A signature that was made, or that fits.

    Attributes:
        file: where it lies.
        files: how many files it stands for, the manifest among them.
        made_with: a key alone, or one that a certificate belongs to.
        signer: SHA-256 of the public key's PEM file; of a certificate, the name of its subject.
    """

    file: Path
    files: int
    made_with: Literal["key", "certificate"]
    signer: str

    @property
    def by(self) -> str:
        """Who made it, in words."""
        return f"{self.made_with} {self.signer}"


def signature_file(bundle: Path) -> Path:
    """Where the signature of a bundle lies unless told otherwise: beside it, as ``NAME.sig``."""
    return companion(bundle, ".sig")


def sign(
    path: Path,
    key: Path,
    *,
    certificate: Path | None = None,
    password: str | None = None,
    to: Path | None = None,
) -> Signature:
    """Sign a bundle as it is now, and replace the signature that is there; no network is used.

    Args:
        key: PEM file of a private EC key.
        certificate: PEM file of that key's certificate and, after it, of those between it and a root.
        password: of the key, if it is encrypted.
        to: where the signature goes, outside of the bundle; :func:`signature_file` if left out.

    Raises:
        SignatureError: the library is missing, the key does not do, or something else is at ``to``.
        ArtifactError: the bundle is damaged or changes meanwhile, or the signature cannot be written.
    """
    library = _library()
    to = to or signature_file(path)
    bundle = Bundle.open(path, check=False)
    if problems := bundle.verify():
        raise ArtifactError(f"{path} is damaged and was not signed: {'; '.join(problems)}")
    _check_target(to, path)
    config = _with_signer(library.signing.Config(), key, certificate, password)
    config.set_hashing_config(pinned := _pinned(bundle))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "signature")
        config.sign(path, made)
        data = made.read_bytes()
    listed = {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    hashed = {name: digest for name, digest in pinned.digests.items() if name != MANIFEST}
    if hashed != listed or read_manifest(path) != bundle.manifest:
        raise ArtifactError(f"{path} was changed while it was being signed: run this again")
    write_atomic(to, data)
    return _described(to, parse_envelope(data, to), len(pinned.digests))


def check(
    bundle: Bundle, *, key: Path | None = None, root: Path | None = None, at: Path | None = None
) -> Signature:
    """Check that the files of a bundle are what was signed, and by whom; no network is used.

    Args:
        bundle: checked when it was opened, or verified: whether other files are there is not asked here.
        key: PEM file of the public key that must have signed it.
        root: or, PEM file of root certificates: one must vouch for the certificate that has signed it.
        at: where the signature lies; :func:`signature_file` if left out.

    Raises:
        SignatureError: there is none, it is by somebody else, or it is of another state of the bundle.
    """
    trusted = key or root
    if trusted is None or (key and root):
        raise ValueError("either a key or root certificates say who must have signed")
    library = _library()
    where = at or signature_file(bundle.path)
    envelope = read_envelope(where)
    _check_made_by(envelope, key, where)
    config = library.verifying.Config().set_hashing_config(pinned := _pinned(bundle))
    if key is not None:
        config.use_elliptic_key_verifier(public_key=key)
    else:
        certificates(trusted)  # what is wrong with them is told before the library meets it
        config.use_certificate_verifier(certificate_chain=[trusted])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "signature")  # so that the library reads what was read here
        copy.write_bytes(envelope.data)
        try:
            config.verify(bundle.path, copy)
        except ArtifactError:
            raise
        except Exception as error:  # whatever the library and what it rests on make of a stranger's file
            if not pinned.digests:
                raise SignatureError(_refused(where, trusted, error)) from error
            raise SignatureError(_stale(where, bundle.path, envelope.digests(), pinned.digests)) from error
    return _described(where, envelope, len(pinned.digests))


def _described(where: Path, envelope: Envelope, files: int) -> Signature:
    """A signature that is known to be genuine."""
    return Signature(where, files, "key" if envelope.kind == "key" else "certificate", envelope.signer)


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise SignatureError(
            f"signatures need model-signing, which cannot be used ({error}): pip install 'aimc-deploy[sign]'"
        ) from None
    return model_signing


def _with_signer(config: Any, key: Path, certificate: Path | None, password: str | None) -> Any:
    public, needed = private_key(key, password)
    if certificate is None:
        return config.use_elliptic_key_signer(private_key=key, password=needed)
    if fingerprint(certified_key(certificate)) != fingerprint(public):
        raise SignatureError(f"{certificate} is of another key than {key}: give the certificate of this one")
    if needed is not None:
        raise SignatureError(
            f"{key} is encrypted, and model-signing takes no such key with a certificate: decrypt it"
        )
    return config.use_certificate_signer(
        private_key=key, signing_certificate=certificate, certificate_chain=[certificate]
    )


def _pinned(bundle: Bundle) -> Any:
    """The library's way to hash, of the files of this bundle and no others; keeps what it finds."""
    from model_signing import hashing

    names = [MANIFEST, *bundle.manifest.files]

    class Pinned(hashing.Config):
        def __init__(self) -> None:
            super().__init__()
            self.digests: dict[str, str] = {}

        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Hashed:
            files = [Path(model_path, name) for name in names]
            try:
                with reporting(f"{bundle.path} cannot be read"):
                    found = super().hash(model_path, files_to_hash=files)
            except ValueError as error:  # a file that was there a moment ago
                raise ArtifactError(f"{bundle.path} cannot be read: {error}") from None
            self.digests = {part.identifier: part.digest.digest_hex for part in found.resource_descriptors()}
            return found

        def add_ignored_paths(self, *, model_path: Any, paths: Any) -> None:
            """Ignore nothing that a signature asks for: what is no content is not hashed anyway."""

    # The library's own verifier reads from a signature what it may pass over.
    return Pinned().set_ignored_paths(paths=NOT_CONTENT)


def _check_target(to: Path, bundle: Path) -> None:
    if bundle.resolve() in to.resolve().parents:
        raise SignatureError(
            f"{to} is in the bundle, which holds only what its manifest lists: choose a place beside it"
        )
    if os.path.lexists(to):
        try:
            read_envelope(to)
        except (ArtifactError, SignatureError):
            raise SignatureError(
                f"{to} exists and is no signature: choose another place with --signature"
            ) from None


def _check_made_by(envelope: Envelope, key: Path | None, where: Path) -> None:
    """Refuse what was made with something else, in words that name it."""
    wanted = "certificate" if key is None else "key"
    if envelope.kind != wanted:
        raise SignatureError(f"{where} was made with {_INSTEAD[envelope.kind]}")
    if key is None:
        return
    own, told = fingerprint(public_key(key)), envelope.key_sha256
    if told is None:
        raise SignatureError(f"{where} does not say which key it was made with: sign again")
    if told != own:
        raise SignatureError(
            f"{where} was made with another key: its public key has the SHA-256 {told[:64]}, "
            f"and {key} has {own}"
        )


def _refused(where: Path, trusted: Path, error: Exception) -> str:
    from cryptography.exceptions import InvalidSignature

    if isinstance(error, InvalidSignature):
        return f"{where} was changed, or is not by the key that it names: do not use the bundle"
    reason = printable(str(error).partition("\n")[0].strip()[:200]) or type(error).__name__
    return f"{where} is no signature that {trusted} vouches for: {reason}"


def _stale(where: Path, path: Path, signed: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """What to say of a genuine signature that does not fit the files."""
    if signed is None:
        return f"{where} does not pin each file by its SHA-256: sign again with `aimc-deploy sign`"
    changes = [f"{name} is new" for name in sorted(now.keys() - signed.keys())]
    both = sorted(now.keys() & signed.keys())
    changes += [f"{name} was changed" for name in both if now[name] != signed[name]]
    gone = sorted(signed.keys() - now.keys())
    changes += [f"{name} is gone" if is_file_name(name) else f"{name} is no part of it" for name in gone]
    shown = [printable(change) for change in changes[:5]]
    more = [f"{len(changes) - 5} more"] if len(changes) > 5 else []
    return (
        f"{where} is of another state of {path}: {'; '.join(shown + more)}; "
        "if this was you, sign it again with `aimc-deploy sign`, and if not, do not use it"
    )
