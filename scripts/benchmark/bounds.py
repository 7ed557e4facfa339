"""Table 4: the bounds, and whether this run met them."""

from registrations import AT_ONCE, ONE_BY_ONE
from report import Table, median
from servers import COOKIES, ENVIRONMENTS, FLOOR, FLOOR_BY_LINK, HEARTBEATS, READS, ratio


def of_servers(rows):
    """Lists each bound with its name and the measured value."""
    found = []
    for name in (READS, HEARTBEATS):
        for other, most in ((FLOOR, 1.10), ("NSD", 1.0), ("Knot", 1.0)):
            found.append((f"{name}: CPU × {other}", ratio(rows[name], rows[other]), most))
    found.append((f"{COOKIES}: CPU × {FLOOR_BY_LINK}", ratio(rows[COOKIES], rows[FLOOR_BY_LINK]), 1.10))
    found.append((f"{ENVIRONMENTS}: CPU × {FLOOR}", ratio(rows[ENVIRONMENTS], rows[FLOOR]), 1.60))
    for name in (READS, HEARTBEATS):
        latency = ratio(rows[name], rows["NSD"], "p99")
        found.append((f"{name}: p99 at half load × NSD", latency, 1.0))
    return found


def of_registrations(rates, storm):
    """The bounds of table 2."""
    many = median(rates[AT_ONCE])
    return [
        ("registrations a second, 1,024 concurrent clients", many, AtLeast(20_000)),
        ("  × a single client, a flush each", many / median(rates[ONE_BY_ONE]), AtLeast(20)),
        ("storm: seconds until all have their parameters", storm["seconds"], 2),
        ("storm: hosts that sent a third query", storm["third"], 0),
    ]


def of_sizes(sizes):
    """The bounds of table 3: the most peers compared with the fewest."""
    few, many = sizes[0], sizes[-1]
    peers = f"{many.peers:,} peers"
    heard = many.value("heartbeats answered") / many.value("heartbeats asked")
    bounds = [
        (f"{peers}: reads, CPU × {few.peers:,} peers", many.value("reads × fewest"), 1.10),
        (f"{peers}: memory, bytes a peer", many.value("memory"), 600),
        (f"{peers}: start to first answer, s", many.value("start"), 5),
        (f"{peers}: whole zone, s", many.value("transfer"), 30),
        (f"{peers}: heartbeats answered, share of those sent", heard, AtLeast(0.999)),
    ]
    beside, alone = many.value("answered in transfer"), many.value("answered alone")
    took = many.value("transfer in reads")
    if beside and alone and took:
        bounds += [
            (f"{peers}: whole zone beside reads at half load, s", took, 30),
            (f"{peers}: reads answered beside it × alone", beside / alone, AtLeast(0.8)),
        ]
    return bounds


class AtLeast(float):
    """A lower bound. Other bounds are upper bounds."""


def table(bounds, plan):
    made = Table("bounds", "4. Bounds", ["", "measured", "bound", "met"])
    for name, found, bound in bounds:
        is_least = isinstance(bound, AtLeast)
        holds = found >= bound if is_least else found <= bound
        words = f"{'≥' if is_least else '≤'} {float(bound):,g}"
        made.rows.append([name, float(found), words, "yes" if holds else "no"])
    if plan.quick:
        made.notes.append("This was a quick run: these results are noise.")
    return made
