"""Table 2: how many new hosts a second are registered durably."""

import shutil

from load import Asked, flood, storm
from machine import run
from report import Table, median
from service import FIRST_ADDRESS, ORIGIN, Service

OUTSTANDING = (1, 64, 1_024)

# More than can be registered in a run.
NAMES = 1_000_000

# One host at a time cannot be registered much more often than the disk flushes.
FLUSHED = 1.5

BARE = "a record appended to a file, fdatasync"
WITHIN = "a record written into a file of fixed length, fdatasync"
SLED = "a record inserted into sled, its flush"


def asking(outstanding):
    return f"the service, {outstanding:,} asking at once"


ONE_BY_ONE = asking(1)
AT_ONCE = asking(1_024)


def measure(machine, plan):
    """Gives the rates of each row by its name, and what was found of the storm."""
    rates = {}
    storms = []
    # One run of each in turn, as in table 1.
    for _ in range(plan.runs):
        for name, what in ((BARE, "append"), (WITHIN, "within"), (SLED, "sled")):
            rates.setdefault(name, []).append(flushed(machine, plan, what))
        for outstanding in OUTSTANDING:
            name = asking(outstanding)
            rates.setdefault(name, []).append(registered(machine, plan, outstanding))
        storms.append(storm_of(machine, plan))
    storm = {name: median([found.get(name) for found in storms]) for name in storms[0]}
    return rates, storm


def flushed(machine, plan, what):
    directory = machine.make(f"flush-{what}")
    command = [machine.program("flush"), what, str(directory), str(plan.seconds)]
    line = run(["taskset", "-c", str(machine.server_processor)] + command, plan.within)
    shutil.rmtree(directory)
    return float(line.split("\t")[1])


def registered(machine, plan, outstanding):
    service = Service(machine, f"service {outstanding} at once")
    server = service.started()
    names = int(NAMES / 5 * plan.seconds)
    asked = Asked(server, name=f"host-{{}}.{ORIGIN}", names=names, order="once")
    rate = flood(machine, asked, plan, outstanding)["rate"]
    server.stop()
    service.remove()
    return rate


def storm_of(machine, plan):
    service = Service(machine, "service storm")
    server = service.started()
    hosts = plan.hosts_of_storm
    asked = Asked(server, name=f"host-{{}}.{ORIGIN}", names=hosts, order="once", subnet=FIRST_ADDRESS)
    found = storm(machine, asked, plan)
    server.stop()
    service.remove()
    return found


def table(rates, storm, plan):
    made = Table(
        "registrations",
        "2. New hosts: how many a second are registered, each on disk before it is answered",
        ["", "a second", "× appended"],
    )
    for name, found in rates.items():
        ratios = [rate / bare for rate, bare in zip(found, rates[BARE])]
        made.rows.append([name, median(found), median(ratios)])
    all_have = f"{plan.hosts_of_storm:,} hosts at once: seconds until all have their parameters"
    made.rows += [
        [all_have, storm["seconds"], None],
        ["  of them asked a second time, after 1 s", storm["again"], None],
        ["  and a third time", storm["third"], None],
    ]
    flushes_a_second = max(median(rates[BARE]), median(rates[WITHIN]))
    alone = median(rates[ONE_BY_ONE]) / flushes_a_second
    if alone > FLUSHED:
        made.notes.append(
            f"One at a time, {alone:.1f} hosts are registered for each flush that the disk can do: "
            "so not each of them waits until the disk has it."
        )
    made.notes.append("All that wait together share one flush, so more at once means more a second.")
    return made
