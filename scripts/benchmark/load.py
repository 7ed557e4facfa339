"""The programs that ask, and for how long."""

from dataclasses import dataclass

from machine import Failure, run
from report import median
from service import ORIGIN

# A rate that the server cannot be said to have reached while it had time left.
BUSY = 0.9

# What is told of the time that answers take, in microseconds.
LATENCIES = ("p50", "p99", "p99 of all")

# How much longer than a run it is waited for the end of a transfer, in seconds.
LONGEST = 120.0


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    quick: bool
    # How often each is measured; the median is shown.
    runs: int
    # How long a run lasts, in seconds; and in how many parts it is taken where what
    # is compared takes turns.
    seconds: float
    parts: int
    warm: float
    # The numbers of registered peers of table 3.
    peers: tuple
    hosts_of_storm: int
    # How long a step with many peers may take, in seconds.
    within: float

    @classmethod
    def full_one(cls):
        return cls(False, 5, 3.0, 3, 0.5, (1_000, 100_000, 1_000_000), 10_000, 600.0)

    @classmethod
    def quick_one(cls):
        return cls(True, 1, 1.0, 1, 0.2, (1_000, 20_000), 10_000, 60.0)


@dataclass(frozen=True)
class Asked:
    """Whom to ask for what."""

    server: object
    name: str = f"vp{{}}.{ORIGIN}"
    names: int = 1
    order: str = "random"
    # The first of the addresses that the hosts state.
    subnet: str = ""
    cookie: bool = False
    namespace: str = ""
    # Answers without a record are good: the floor knows none.
    empty: bool = False

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
    """The most that the server can do."""
    span = ["--warm", str(plan.warm), "--seconds", str(seconds or plan.seconds)]
    arguments = ["flood", "--outstanding", str(outstanding)] + span
    return ask(machine, asked, arguments, plan)


def in_turn(machine, all_asked, plan, at_half=False):
    """The most that each of the servers can do; and how it answers at half of that.
    They take turns within a run, so that what slows the machine for some seconds
    slows them all."""
    seconds = plan.seconds / plan.parts
    parts = [[] for _ in all_asked]
    for _ in range(plan.parts):
        for asked, found in zip(all_asked, parts):
            part = flood(machine, asked, plan, seconds=seconds)
            if at_half:
                half = steady(machine, asked, plan, part["rate"] / 2, seconds)
                part |= {name: half.get(name) for name in LATENCIES}
                part["lost at half"] = half["lost"] / max(half["sent"], 1)
            found.append(part)
    return [whole(found) for found in parts]


def whole(parts):
    """A run, of its parts."""
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
    """So many queries a second; and meanwhile transfers of the zone, until the time
    is over and one of them whole."""
    arguments = ["steady", "--rate", f"{rate:.0f}"]
    arguments += ["--warm", str(plan.warm), "--seconds", str(seconds or plan.seconds)]
    if zone:
        arguments += ["--transfer", zone, "--patience", str(LONGEST)]
    return ask(machine, asked, arguments, plan)


def storm(machine, asked, plan):
    """All hosts at once."""
    return ask(machine, asked, ["storm"], plan)


def ask(machine, asked, arguments, plan):
    found = load(machine, arguments + asked.arguments(), asked.namespace, plan.within)
    bad = found.get("failed", 0) + found.get("truncated", 0)
    bad += 0 if asked.empty else found.get("empty", 0)
    # One in a hundred may be odd; more, and something else is measured than is said.
    if bad > found.get("answered", 0) / 100:
        raise Failure(f"{asked.server.name} does not answer what it is asked: {found}")
    return found


def load(machine, arguments, namespace="", within=600.0):
    """Runs the load; gives its numbers by name."""
    command = machine.load_command([machine.program("load")] + arguments, namespace)
    lines = run(command, within).splitlines()
    return {name: float(number) for name, number in (line.split("\t") for line in lines)}
