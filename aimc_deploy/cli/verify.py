"""``aimc-deploy verify``."""

from __future__ import annotations

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, out
from aimc_deploy.errors import ArtifactError


@guarded
def command(
    bundle: options.BundlePath = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Check that every file of a bundle is what its manifest says; exit 2 if one is not.

    Examples:

        aimc-deploy verify
        aimc-deploy verify --bundle my-bundle
    """
    with loading(output):
        from aimc_deploy.artifact.bundle import Bundle

    opened = Bundle.open(options.bundle_path(bundle), check=False)
    problems = opened.verify()
    payload = {"bundle": str(opened.path), "files": len(opened.manifest.files), "problems": problems}
    emit(
        output,
        payload,
        lambda: out.print(
            f"{opened.path}: {len(opened.manifest.files)} files, "
            + (f"{len(problems)} of them wrong" if problems else "all as the manifest says"),
        ),
    )
    if problems:
        raise ArtifactError(
            f"{opened.path} is damaged: " + "; ".join(problems) + "; copy it anew or map again"
        )
    next_step(output, "aimc-deploy inspect" + options.place(opened.path))
