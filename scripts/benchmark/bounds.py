"""Table 4: what is to hold, and whether it did in this run."""

from registrations import AT_ONCE, ONE_BY_ONE
from report import Table, median
from servers import COOKIES, FLOOR, FLOOR_BY_LINK, HEARTBEATS, READS, ratio


def of_servers(rows):
    """Lists what is to hold, what was found, and the bound."""
    found = []
    for name in (READS, HEARTBEATS):
        for other, most in ((FLOOR, 1.10), ("NSD", 1.0), ("Knot", 1.0)):
            found.append((f"{name}: CPU × {other}", ratio(rows[name], rows[other]), most))
    found.append((f"{COOKIES}: CPU × {FLOOR_BY_LINK}", ratio(rows[COOKIES], rows[FLOOR_BY_LINK]), 1.10))
    for name in (READS, HEARTBEATS):
        latency = ratio(rows[name], rows["NSD"], "p99")
        found.append((f"{name}: p99 at half load × NSD", latency, 1.0))
    return found


def of_registrations(rates, storm):
    """`rates` by row, `storm` by what was found."""
    many = median(rates[AT_ONCE])
    return [
        ("registrations a second, 1,024 asking at once", many, AtLeast(20_000)),
        ("  × one asking alone, a flush each", many / median(rates[ONE_BY_ONE]), AtLeast(20)),
        ("storm: seconds until all have their parameters", storm["seconds"], 2),
        ("storm: hosts that asked a third time", storm["third"], 0),
    ]


def of_sizes(sizes):
    """The most peers beside the fewest."""
    few, many = sizes[0], sizes[-1]
    peers = f"{many.peers:,} peers"
    heard = many.value("heartbeats answered") / many.value("heartbeats asked")
    bounds = [
        (f"{peers}: reads, CPU × {few.peers:,} peers", many.value("reads × fewest"), 1.10),
        (f"{peers}: memory, octets a peer", many.value("memory"), 600),
        (f"{peers}: start to first answer, s", many.value("start"), 5),
        (f"{peers}: whole zone, s", many.value("transfer"), 30),
        (f"{peers}: heartbeats answered, share of those asked", heard, AtLeast(0.999)),
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
    """A bound from below; others are from above."""


def table(bounds, plan):
    made = Table("bounds", "4. What is to hold", ["", "found", "bound", "holds"])
    for name, found, bound in bounds:
        is_least = isinstance(bound, AtLeast)
        holds = found >= bound if is_least else found <= bound
        words = f"{'≥' if is_least else '≤'} {float(bound):,g}"
        made.rows.append([name, float(found), words, "yes" if holds else "no"])
    if plan.quick:
        made.notes.append("A quick run: what it says of these is noise.")
    return made
