"""Table 1: the cost of a query for the service and the other servers."""

from dataclasses import dataclass, field

import rivals
from load import BUSY, Asked, in_turn
from machine import SERVER_SIDE, SOA
from report import Table, median
from service import FABRIC_ENVIRONMENT, FIRST_ADDRESS, ORIGIN, Service, with_cookies

NAMES = 1_000

# The names of the rows; other modules refer to some of them.
READS = "service, reads"
HEARTBEATS = "service, heartbeats with address"
COOKIES = "service, heartbeats with cookie (link)"
FLOOR, FLOOR_BY_LINK = "floor", "floor (link)"
ENVIRONMENTS = "service, environments by their holders"
BY_TCP = "service, heartbeats (TCP)"


@dataclass
class Row:
    """A row: its queries, and the results of each run."""

    asked: Asked
    # The rows with which its cost is compared.
    service: str = READS
    floor: str = FLOOR
    runs: list = field(default_factory=list)

    def each(self, name):
        return [run.get(name) for run in self.runs]


def measure(machine, plan):
    """Returns the rows by name."""
    rows = start(machine, plan)
    for _ in range(plan.runs):
        # Rows that are compared are interleaved.
        found = in_turn(machine, [row.asked for row in rows.values()], plan, at_half=True)
        for row, run in zip(rows.values(), found):
            row.runs.append(run)
    for row in rows.values():
        row.asked.server.stop()
    return rows


def start(machine, plan):
    """Starts all servers. Only one of them at a time gets queries."""
    reading = Service(machine, "service reads")
    reading.fill(NAMES, plan.within)
    reader = reading.started()
    hearing = Service(machine, "service heartbeats")
    hearing.fill(NAMES, plan.within)
    hearer = hearing.started("30s")
    telling = Service(machine, "service environments", FABRIC_ENVIRONMENT)
    telling.fill(NAMES, plan.within)
    teller = telling.started("30s")
    zone = reading.master_file(reader, plan.within)
    link = machine.link()
    server_side, client_side = link
    hosts = f"host-{{}}.{ORIGIN}"

    bare = rivals.floor(machine)
    bare.wait_for_answer(ORIGIN, SOA, empty=True)
    rows = {
        READS: Row(Asked(reader, names=NAMES)),
        FLOOR: Row(Asked(bare, names=NAMES, empty=True)),
        HEARTBEATS: Row(Asked(hearer, hosts, NAMES, subnet=FIRST_ADDRESS)),
        ENVIRONMENTS: Row(Asked(teller, f"_env.{hosts}", NAMES, subnet=FIRST_ADDRESS)),
    }
    by_tcp = {BY_TCP: Row(Asked(hearer, hosts, NAMES, subnet=FIRST_ADDRESS, tcp=True), BY_TCP)}
    for name, rival in (
        ("NSD", rivals.nsd),
        ("Knot", rivals.knot),
        ("BIND", rivals.bind),
        ("dnsmasq", rivals.dnsmasq),
        ("hickory-server", rivals.hickory),
    ):
        server = rival(machine, zone)
        server.wait_for_answer(f"vp0.{ORIGIN}")
        rows[name] = Row(Asked(server, names=NAMES))
        if name in ("NSD", "Knot"):
            by_tcp[f"{name} (TCP)"] = Row(Asked(server, names=NAMES, tcp=True), BY_TCP)
    rows |= by_tcp

    server = with_cookies(machine, link, NAMES, plan.within)
    by_link = Asked(server, hosts, NAMES, cookie=True, namespace=client_side)
    rows[COOKIES] = Row(by_link, COOKIES, FLOOR_BY_LINK)
    server = rivals.floor(machine, SERVER_SIDE, server_side)
    server.wait_for_socket()
    by_link = Asked(server, hosts, NAMES, cookie=True, namespace=client_side, empty=True)
    rows[FLOOR_BY_LINK] = Row(by_link, COOKIES, FLOOR_BY_LINK)
    return rows


def cost(rows, name):
    """The processor time of a query in microseconds."""
    return median(rows[name].each("processor"))


def ratio(row, other, name="processor"):
    """The median ratio of interleaved runs; None between UDP and TCP."""
    if row.asked.tcp != other.asked.tcp:
        return None
    pairs = zip(row.each(name), other.each(name))
    return median([mine / its for mine, its in pairs if mine and its])


def share(numbers):
    """The median as a percentage."""
    found = median(numbers)
    return None if found is None else found * 100


def table(rows, plan):
    made = Table(
        "servers",
        f"1. What a query costs: TXT, {NAMES:,} names, one thread, 256 queries on their way",
        ["server", "queries/s", "µs CPU", "× service", "× floor", "p50 µs", "p99 µs", "of all", "lost %", "busy %"],
    )
    for name, row in rows.items():
        made.rows.append(
            [
                name,
                median(row.each("rate")),
                cost(rows, name),
                ratio(row, rows[row.service]),
                ratio(row, rows[row.floor]),
                median(row.each("p50")),
                median(row.each("p99")),
                median(row.each("p99 of all")),
                share(row.each("lost at half")),
                share(row.each("busy")),
            ]
        )
    idle = [name for name, row in rows.items() if median(row.each("busy")) < BUSY]
    if idle:
        made.notes.append(
            "May answer more than it could be asked, since its processor had time left (busy %): "
            + "; ".join(idle)
            + "."
        )
    made.notes += [
        "µs CPU: processor time of the server for each query that it answered, at its most.",
        "p50, p99: how long answers take at half of that rate, the median of spans of 2,000 queries; "
        "of all: the p99 of all queries; lost: those without an answer.",
        "Compared are rows of the same network, loopback or the link between two namespaces, and of "
        "the same transport. By TCP: 16 connections that stay open, with 16 queries each on their way.",
    ]
    if plan.quick:
        made.notes.append("A quick run: one run of each.")
    return made
