"""The load generator, and the duration of runs."""

from dataclasses import dataclass

from machine import Failure, run
from report import median
from service import ORIGIN

# Below this share of its processor, a server was not the bottleneck.
BUSY = 0.9

# The latencies that are reported, in microseconds.
LATENCIES = ("p50", "p99", "p99 of all")

# How long to wait for the end of a transfer after a run, in seconds.
LONGEST = 120.0


@dataclass(frozen=True)
class Plan:
    """The amount of measurement."""

    quick: bool
    # The number of runs, of which the median is shown.
    runs: int
    # How long a run lasts, in seconds; and in how many parts it is taken where what
    # is compared takes turns.
    seconds: float
    parts: int
    warm: float
    # The numbers of registered peers of table 3.
    peers: tuple
    hosts_of_storm: int
    # The time limit of a step with many peers, in seconds.
    within: float

    @classmethod
    def full_one(cls):
        return cls(False, 5, 3.0, 3, 0.5, (1_000, 100_000, 1_000_000), 10_000, 600.0)

    @classmethod
    def quick_one(cls):
        return cls(True, 1, 1.0, 1, 0.2, (1_000, 20_000), 10_000, 60.0)


@dataclass(frozen=True)
class Asked:
    """A server and the queries that it gets."""

    server: object
    name: str = f"vp{{}}.{ORIGIN}"
    names: int = 1
    order: str = "random"
    # The first of the addresses that hosts state.
    subnet: str = ""
    cookie: bool = False
    namespace: str = ""
    # Whether empty answers are correct: the floor has no records.
    empty: bool = False
    # By TCP, on connections that stay open.
    tcp: bool = False

    def arguments(self):
        host, port = self.server.address
        arguments = ["--server", f"{host}:{port}", "--name", self.name]
        arguments += ["--names", str(self.names), "--order", self.order]
        arguments += ["--subnet", self.subnet] if self.subnet else []
        arguments += ["--cookie"] if self.cookie else []
        for process in self.server.processes():
            arguments += ["--process", str(process)]
        return arguments


def flood(machine, asked, plan, outstanding=256, seconds=None):
    """Measures the maximum rate of a server."""
    span = ["--warm", str(plan.warm), "--seconds", str(seconds or plan.seconds)]
    arguments = ["flood", "--outstanding", str(outstanding)] + span
    arguments += ["--tcp"] if asked.tcp else []
    return ask(machine, asked, arguments, plan)


def in_turn(machine, all_asked, plan, at_half=False):
    """Measures the maximum rate of each server, and its latency at half of that.
    They take turns within a run, so that what slows the machine for some seconds
    slows them all."""
    seconds = plan.seconds / plan.parts
    parts = [[] for _ in all_asked]
    for _ in range(plan.parts):
        for asked, found in zip(all_asked, parts):
            part = flood(machine, asked, plan, seconds=seconds)
            if at_half and not asked.tcp:
                half = steady(machine, asked, plan, part["rate"] / 2, seconds)
                part |= {name: half.get(name) for name in LATENCIES}
                part["lost at half"] = half["lost"] / max(half["sent"], 1)
            found.append(part)
    return [whole(found) for found in parts]


def whole(parts):
    """Combines the parts of a run."""
    answered = sum(part["answered"] for part in parts)
    seconds = sum(part["seconds"] for part in parts)
    run = {
        "rate": answered / seconds,
        "processor": sum(part["processor"] * part["answered"] for part in parts) / answered,
        "busy": sum(part["busy"] * part["seconds"] for part in parts) / seconds,
    }
    for name in (*LATENCIES, "lost at half"):
        run[name] = median([part.get(name) for part in parts])
    return run


def steady(machine, asked, plan, rate, seconds=None, zone=None):
    """Sends queries at a fixed rate, with transfers of the zone if one is given, until the
    time is over and a transfer is complete."""
    arguments = ["steady", "--rate", f"{rate:.0f}"]
    arguments += ["--warm", str(plan.warm), "--seconds", str(seconds or plan.seconds)]
    if zone:
        arguments += ["--transfer", zone, "--patience", str(LONGEST)]
    return ask(machine, asked, arguments, plan)


def storm(machine, asked, plan):
    """Lets all hosts register at once."""
    return ask(machine, asked, ["storm"], plan)


def ask(machine, asked, arguments, plan):
    found = load(machine, arguments + asked.arguments(), asked.namespace, plan.within)
    bad = found.get("failed", 0) + found.get("truncated", 0)
    bad += 0 if asked.empty else found.get("empty", 0)
    # One wrong answer in a hundred is tolerated; with more, the result would be meaningless.
    if bad > found.get("answered", 0) / 100:
        raise Failure(f"{asked.server.name} does not answer what it is asked: {found}")
    return found


def load(machine, arguments, namespace="", within=600.0):
    """Runs the load generator, and returns its results by name."""
    command = machine.load_command([machine.program("load")] + arguments, namespace)
    lines = run(command, within).splitlines()
    return {name: float(number) for name, number in (line.split("\t") for line in lines)}
