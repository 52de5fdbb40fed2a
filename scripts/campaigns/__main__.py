"""The command line of the campaigns; see scripts/campaign."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path

from aimc_deploy.workflows.env import run as environment
from campaigns import cases, page

NAMES = page.CAMPAIGNS
PARALLEL = ("fuzz", "determinism")
"""Take ``--workers``."""


def main() -> int:
    """Run one campaign, or write the page of all."""
    parser = argparse.ArgumentParser(prog="scripts/campaign", description=cases.__doc__)
    parser.add_argument("name", choices=(*NAMES, "page"))
    parser.add_argument("--size", type=int, help="so many cases, drawn by seed [all]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--only", help="the one case of this name")
    parser.add_argument("--workers", type=int, help=f"processes, for {' and '.join(PARALLEL)} [1]")
    arguments = parser.parse_args()
    if arguments.workers is not None and (arguments.name not in PARALLEL or arguments.workers < 1):
        parser.error(f"--workers: 1 or more, for {' and '.join(PARALLEL)} only")
    if arguments.name == "page":
        page.write(Path("docs"))
        return 0
    campaign = importlib.import_module(f"campaigns.{arguments.name}").campaign
    with tempfile.TemporaryDirectory() as folder:
        more = {} if arguments.workers is None else {"workers": arguments.workers}
        tally = campaign(Path(folder), arguments.size, arguments.seed, arguments.only, **more)
    result = {
        "campaign": tally.campaign,
        "size": tally.size,
        "passed": tally.size - tally.failed,
        "failures": tally.failures,
        "kinds": dict(tally.kinds),
        "figures": tally.figures,
        "seed": tally.seed,
        "seconds": round(tally.seconds, 1),
        "versions": environment(),
    }
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{tally.campaign}: {result['passed']:,} of {tally.size:,} cases passed in {tally.seconds:.0f} s")
    for failure in tally.failures[:20]:
        print(f"\n{failure['case']}\n  {failure['why']}\n  again: {failure['reproduce']}")
    if tally.size == 0:
        print(f"there is no case {arguments.only!r}", file=sys.stderr)
    return 1 if tally.failures or tally.size == 0 else 0


sys.exit(main())
