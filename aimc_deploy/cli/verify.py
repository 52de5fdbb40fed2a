"""``aimc-deploy verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, note, out
from aimc_deploy.errors import AimcError, ArtifactError, ConfigError


@guarded
def command(
    bundle: options.BundlePath = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Public key that must have signed it, a PEM file.")
    ] = None,
    root_certificate: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of root certificates: one must vouch for the certificate that signed it."
        ),
    ] = None,
    signature: options.SignaturePath = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Check that every file of a bundle is what its manifest says; exit 2 if one is not.

    With a key or a root certificate also that this state of the bundle was signed, and by whom.

    Examples:

        aimc-deploy verify
        aimc-deploy verify --bundle my-bundle
        aimc-deploy verify --key public.pem
    """
    if key and root_certificate:
        raise ConfigError("--key and --root-certificate are two ways to check a signature: give one of them")
    asked = key is not None or root_certificate is not None
    if signature is not None and not asked:
        raise ConfigError("--signature needs --key or --root-certificate, which say who must have signed")
    with loading(output):
        from aimc_deploy.artifact.bundle import Bundle
        from aimc_deploy.artifact.signature import check, signature_file

    opened = Bundle.open(options.bundle_path(bundle), check=False)
    problems = opened.verify()
    refusal: AimcError | None = None
    signed = None
    if problems:
        refusal = ArtifactError(
            f"{opened.path} is damaged: " + "; ".join(problems) + "; copy it anew or map again"
        )
    elif asked:
        try:
            signed = check(opened, key=key, root=root_certificate, at=signature)
        except AimcError as error:
            refusal = error
    where = signature or signature_file(opened.path)
    payload = {
        "bundle": str(opened.path),
        "files": len(opened.manifest.files),
        "problems": problems,
        "signature": {
            "file": str(where),
            "problem": None if refusal is None else str(refusal),
            "made_with": signed and signed.made_with,
            "signer": signed and signed.signer,
        }
        if asked
        else None,
    }

    def show() -> None:
        out.print(
            f"{opened.path}: {len(opened.manifest.files)} files, "
            + (f"{len(problems)} of them wrong" if problems else "all as the manifest says"),
        )
        if signed is not None:
            out.print(f"{where}: signed with {signed.by}")

    emit(output, payload, show)
    if refusal is not None:
        raise refusal
    if not asked and where.exists():
        note(output, f"{where} was not checked: --key or --root-certificate says who must have signed")
    next_step(output, "aimc-deploy inspect" + options.place(opened.path))
