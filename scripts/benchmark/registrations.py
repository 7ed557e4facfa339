"""Table 2: the rate of durable registrations of new hosts."""

import shutil

from load import Asked, flood, storm
from machine import run
from report import Table, median
from service import FIRST_ADDRESS, ORIGIN, Service

OUTSTANDING = (1, 64, 1_024)

# More hosts than a run can register.
NAMES = 1_000_000

# A single client cannot register hosts much faster than the disk flushes.
FLUSHED = 1.5

BARE = "a record appended to a file, fdatasync"
WITHIN = "a record written into a file of fixed length, fdatasync"
SLED = "a record inserted into sled, its flush"


def row(outstanding):
    clients = "1 client" if outstanding == 1 else f"{outstanding:,} concurrent clients"
    return f"the service, {clients}"


ONE_BY_ONE = row(1)
AT_ONCE = row(1_024)


def measure(machine, plan):
    """Returns the rates of each row by its name, and the results of the storm."""
    rates = {}
    storms = []
    # Interleaved, as in table 1.
    for _ in range(plan.runs):
        for name, what in ((BARE, "append"), (WITHIN, "within"), (SLED, "sled")):
            rates.setdefault(name, []).append(flushed(machine, plan, what))
        for outstanding in OUTSTANDING:
            name = row(outstanding)
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
        "2. New hosts: registrations a second, each on disk before it is answered",
        ["", "a second", "× appended"],
    )
    for name, found in rates.items():
        ratios = [rate / bare for rate, bare in zip(found, rates[BARE])]
        made.rows.append([name, median(found), median(ratios)])
    all_have = f"{plan.hosts_of_storm:,} hosts at once: seconds until all have their parameters"
    made.rows += [
        [all_have, storm["seconds"], None],
        ["  of them sent a second query, after 1 s", storm["again"], None],
        ["  and a third one", storm["third"], None],
    ]
    flushes_a_second = max(median(rates[BARE]), median(rates[WITHIN]))
    alone = median(rates[ONE_BY_ONE]) / flushes_a_second
    if alone > FLUSHED:
        made.notes.append(
            f"A single client registers {alone:.1f} hosts for each flush of which the disk is "
            "capable, so some answers do not wait for the disk."
        )
    made.notes.append("Concurrent registrations share a flush, so more clients get a higher rate.")
    return made
