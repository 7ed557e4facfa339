"""Measures the service beside its rivals; scripts/bench starts this.

The modules, from the top down:

* servers: table 1, what a query costs.
* registrations: table 2, what the disk allows.
* peers: table 3, what the number of peers changes.
* bounds: table 4, what is to hold.
* report, plot: tables, files and the picture.
* service, rivals: what is measured, and how it is configured.
* load: the programs that ask.
* machine: processes, processors, network namespaces, and their end.
"""

import argparse
import os
import pathlib
import signal
import sys

import bounds
import peers
import plot
import registrations
import report
import servers
from load import Plan
from machine import Failure, Machine

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLES = ("servers", "registrations", "peers")


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures the service beside its rivals. Prints tables, and leaves "
        "them as TSV in target/bench; a full run draws docs/cost.svg as well.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one short run of each, and fewer peers: to see that all of it works",
    )
    parser.add_argument("--only", choices=TABLES, help="measure one table alone")
    return parser.parse_args()


def measure(machine, plan, wanted, results):
    print(report.head(machine, plan), flush=True)
    costs = sizes = None
    to_hold = []
    if "servers" in wanted:
        costs = servers.measure(machine, plan)
        report.show(servers.table(costs, plan), results)
        to_hold += bounds.of_servers(costs)
    if "registrations" in wanted:
        rates, storm = registrations.measure(machine, plan)
        report.show(registrations.table(rates, storm, plan), results)
        to_hold += bounds.of_registrations(rates, storm)
    if "peers" in wanted:
        sizes = peers.measure(machine, plan)
        report.show(peers.table(sizes, plan), results)
        to_hold += bounds.of_sizes(sizes)
    report.show(bounds.table(to_hold, plan), results)
    if costs and sizes:
        # A quick run must not replace the plot of a full run.
        picture = results / "cost.svg" if plan.quick else ROOT / "docs" / "cost.svg"
        picture.write_text(plot.cost(costs, sizes))
        print(f"The picture: {picture}")
    print(f"The numbers: {results}")


def main():
    options = arguments()
    wanted = [options.only] if options.only else TABLES
    plan = Plan.quick_one() if options.quick else Plan.full_one()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    results = target / "bench"
    results.mkdir(parents=True, exist_ok=True)
    # A signal must not leave anything running.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with Machine(target / "release", results) as machine:
            measure(machine, plan, wanted, results)
    except Failure as failure:
        sys.exit(f"bench: {failure}")


if __name__ == "__main__":
    main()
