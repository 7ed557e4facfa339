"""Table 3: the effect of the number of registered peers."""

import contextlib
from dataclasses import dataclass, field

import rivals
from load import LONGEST, Asked, flood, in_turn, load, steady
from machine import SOA, TooSlow
from report import Table, median
from service import FIRST_ADDRESS, ORIGIN, Service

# The interval of heartbeats and the lease, in seconds.
HEARTBEAT = 10
LEASE = 20

# The rows of the table: the key of a value, and its label.
ROWS = (
    ("reads", "reads, µs CPU"),
    ("reads × fewest", "  × those with the fewest peers, interleaved"),
    ("reads a second", "reads, queries/s"),
    ("answered alone", "reads at half of that: answered a second"),
    ("p50 alone", "  p50 µs"),
    ("p99 alone", "  p99 µs"),
    ("lost alone", "  lost, %"),
    ("answered in transfer", "the same while the zone is transferred: answered a second"),
    ("p50 in transfer", "  p50 µs"),
    ("p99 in transfer", "  p99 µs"),
    ("lost in transfer", "  lost, %"),
    ("transfer in reads", "  whole zone, s"),
    ("heartbeats", "heartbeats, µs CPU"),
    ("heartbeats asked", "one every 10 s from each peer: sent a second"),
    ("heartbeats answered", "  answered a second"),
    ("heartbeats p50", "  p50 µs"),
    ("heartbeats p99", "  p99 µs"),
    ("memory", "memory, bytes a peer"),
    ("disk", "disk, bytes a peer"),
    ("start", "start to first answer, s"),
    ("transfer", "whole zone (AXFR) without reads, s"),
    ("records", "  records in it"),
    ("transferred", "  MB"),
    ("file", "zone as a master file, MB"),
    ("NSD memory", "NSD with that file, bytes a peer"),
    ("NSD start", "NSD, start to first answer, s"),
    ("Knot memory", "Knot with that file, bytes a peer"),
    ("Knot start", "Knot, start to first answer, s"),
)


@dataclass
class Size:
    """The results with this number of peers."""

    peers: int
    found: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)

    def add(self, name, number):
        self.found.setdefault(name, []).append(number)

    def value(self, name):
        return median(self.found.get(name, []))

    @contextlib.contextmanager
    def bounded(self, what):
        """A step that is skipped if it exceeds the time limit."""
        try:
            yield
        except TooSlow as slow:
            self.missing.append(f"{self.peers:,} peers: {what} is left out: {slow}.")


def measure(machine, plan):
    # With the fewest peers, to be asked in turn with each size: between those lie
    # minutes, in which the machine changes. It also has its share of the program's
    # memory, so it runs beside the empty service as well.
    service = Service(machine, "service fewest")
    service.fill(plan.peers[0], plan.within)
    fewest = Asked(service.started(), names=plan.peers[0])
    empty = Empty(machine, plan)
    sizes = [of_size(machine, plan, peers, empty, fewest) for peers in plan.peers]
    fewest.server.stop()
    service.remove()
    return sizes


class Empty:
    """The memory of each server without peers."""

    def __init__(self, machine, plan):
        service = Service(machine, "service empty")
        server = service.started()
        self.service = server.memory()
        zone = service.master_file(server, plan.within)
        server.stop()
        self.rivals = {}
        for name, rival in RIVALS.items():
            server = rival(machine, zone)
            server.wait_for_answer(ORIGIN, SOA)
            self.rivals[name] = server.memory()
            server.stop()
        service.remove()


RIVALS = {"NSD": rivals.nsd, "Knot": rivals.knot}


def of_size(machine, plan, peers, empty, fewest):
    size = Size(peers)
    service = Service(machine, f"service {peers}")
    zone = None
    with size.bounded("the service"):
        service.fill(peers, plan.within)
        starts(plan, size, service, empty)
        server = service.start()
        server.wait_for_answer(f"vp0.{ORIGIN}", within=plan.within)
        size.add("disk", service.bytes_on_disk() / peers)
        reads(machine, plan, size, server, fewest)
        with size.bounded("the transfer"):
            transfers(machine, plan, size, server)
        with size.bounded("the master file"):
            zone = service.master_file(server, plan.within)
            size.add("file", zone.stat().st_size / 1e6)
        server.stop()
        heartbeats(machine, plan, size, service)
    if zone:
        for name, rival in RIVALS.items():
            with size.bounded(name):
                rival_of_size(machine, plan, size, name, rival(machine, zone), empty)
    # A skipped step leaves its servers running.
    for server in list(machine.servers):
        if server is not fewest.server:
            server.kill()
    service.remove()
    return size


def starts(plan, size, service, empty):
    for _ in range(plan.runs):
        server = service.start()
        size.add("start", server.wait_for_answer(f"vp0.{ORIGIN}", within=plan.within))
        size.add("memory", (server.memory() - empty.service) / size.peers)
        server.stop()


def reads(machine, plan, size, server, fewest):
    asked = Asked(server, names=size.peers)
    for _ in range(plan.runs):
        least, most = in_turn(machine, [fewest, asked], plan)
        size.add("reads × fewest", most["processor"] / least["processor"])
        size.add("reads", most["processor"])
        size.add("reads a second", most["rate"])
        half(size, "alone", steady(machine, asked, plan, most["rate"] / 2))


def half(size, when, found):
    """Adds the results of reads at half of the maximum rate."""
    sent = max(found["sent"], 1)
    size.add(f"answered {when}", found["answered"] / sent * found["rate"])
    size.add(f"p50 {when}", found.get("p50"))
    size.add(f"p99 {when}", found.get("p99"))
    size.add(f"lost {when}", found["lost"] / sent * 100)


def transfers(machine, plan, size, server):
    """Measures transfers alone, and while the load generator reads."""
    host, port = server.address
    arguments = ["transfer", "--server", f"{host}:{port}", "--zone", f"{ORIGIN}."]
    for _ in range(plan.runs if size.peers <= 100_000 else 1):
        found = load(machine, arguments, within=plan.within)
        size.add("transfer", found["seconds"])
        size.add("records", found["records"])
        size.add("transferred", found["octets"] / 1e6)
    asked = Asked(server, names=size.peers)
    rate = size.value("reads a second") / 2
    for _ in range(plan.runs):
        found = steady(machine, asked, plan, rate, zone=f"{ORIGIN}.")
        half(size, "in transfer", found)
        size.add("transfer in reads", found.get("transfer"))
    if not size.value("transfer in reads"):
        size.missing.append(
            f"{size.peers:,} peers: no transfer beside reads was whole within {LONGEST:.0f} s."
        )


def heartbeats(machine, plan, size, service):
    """Each run starts the service, so that all leases are running, and lasts until each
    of them has been checked."""
    asked = {"name": f"host-{{}}.{ORIGIN}", "names": size.peers, "subnet": FIRST_ADDRESS}
    rate = size.peers / HEARTBEAT
    seconds = plan.seconds if plan.quick else LEASE
    for _ in range(plan.runs):
        server = service.start(f"{LEASE}s")
        server.wait_for_answer(f"vp0.{ORIGIN}", within=plan.within)
        most = flood(machine, Asked(server, **asked), plan)
        size.add("heartbeats", most["processor"])
        found = steady(machine, Asked(server, order="round", **asked), plan, rate, seconds)
        size.add("heartbeats asked", found["rate"])
        size.add("heartbeats answered", found["answered"] / found["sent"] * found["rate"])
        size.add("heartbeats p50", found.get("p50"))
        size.add("heartbeats p99", found.get("p99"))
        server.stop()


def rival_of_size(machine, plan, size, name, server, empty):
    try:
        took = server.wait_for_answer(f"vp{size.peers - 1}.{ORIGIN}", within=plan.within)
        size.add(f"{name} start", took)
        size.add(f"{name} memory", (server.memory() - empty.rivals[name]) / size.peers)
    finally:
        server.kill()


def table(sizes, plan):
    made = Table(
        "peers",
        "3. What the number of registered peers changes",
        ["registered peers"] + [f"{size.peers:,}" for size in sizes],
    )
    made.rows = [[title] + [size.value(name) for size in sizes] for name, title in ROWS]
    made.notes = [
        "The environment of a peer has three variables here, so that the zone fits into a file; "
        "each variable of it is a record.",
        "NSD and Knot are started once with the zone as a file; starting means reading it.",
    ]
    if plan.quick:
        made.notes.append("A quick run: no million of peers, and heartbeats for a moment only.")
    else:
        made.notes.append("Beyond 100,000 peers the zone is transferred once alone, not five times.")
    for size in sizes:
        made.notes += size.missing
    return made
