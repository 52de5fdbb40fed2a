"""``aimc-deploy sign``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, out


@guarded
def command(
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            help="Private EC key, a PEM file; AIMC_DEPLOY_KEY_PASSWORD holds its password if it has one.",
        ),
    ],
    bundle: options.BundlePath = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file of the key's certificate and, after it, of those between it and a root."),
    ] = None,
    signature: options.SignaturePath = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Sign a bundle as it is now, in the format of OpenSSF Model Signing.

    Any later change, such as a new adapter, needs a new signature. The extra `sign` has to be installed.

    Examples:

        aimc-deploy sign --key key.pem
        aimc-deploy sign --key key.pem --certificate chain.pem --signature signatures/bundle.sig
    """
    path = options.bundle_path(bundle)
    with loading(output):
        from aimc_deploy.artifact.keys import PASSWORD
        from aimc_deploy.artifact.signature import sign

    made = sign(path, key, certificate=certificate, password=os.environ.get(PASSWORD), to=signature)
    payload = {
        "bundle": str(path),
        "signature": str(made.file),
        "files": made.files,
        "made_with": made.made_with,
        "signer": made.signer,
    }
    emit(
        output,
        payload,
        lambda: out.print(f"{made.file}: {made.files} files signed with {made.by}"),
    )
    trusted = "--key PUBLIC.pem" if certificate is None else "--root-certificate ROOT.pem"
    elsewhere = "" if signature is None else f" --signature {shlex.quote(str(signature))}"
    next_step(output, f"aimc-deploy verify {trusted}{options.place(path)}{elsewhere}")
