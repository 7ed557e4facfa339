"""Tables, as text for people and as TSV for programs."""

import os
import platform
import statistics
from dataclasses import dataclass, field


@dataclass
class Table:
    """A table. A cell is text, a number, or None for a missing value."""

    name: str
    title: str
    columns: list
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def text(self):
        cells = [self.columns] + [[shown(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in cells
        ]
        notes = [f"  {note}" for note in self.notes]
        return "\n".join(["", self.title, ""] + lines + [""] * bool(notes) + notes + [""])

    def tsv(self):
        rows = [self.columns] + [["" if cell is None else str(cell) for cell in row] for row in self.rows]
        return "".join("\t".join(row) + "\n" for row in rows)


def shown(cell):
    """Formats a number with three significant digits, or more before the point."""
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    if abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def show(table, results):
    print(table.text(), flush=True)
    (results / f"{table.name}.tsv").write_text(table.tsv())


def median(numbers):
    """The median of the values that are not None."""
    numbers = [number for number in numbers if number is not None]
    return statistics.median(numbers) if numbers else None


def head(machine, plan):
    """The machine and the method."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    lines = [
        f"{model}, {os.cpu_count()} processors, Linux {platform.release()}",
        f"Servers on processor {machine.server_processor}, load on {machine.load_processor}; "
        f"load of the machine at the start: {os.getloadavg()[0]:.1f}",
    ]
    if machine.shares_processor:
        lines.append("There is one processor alone: the load takes from what the servers have.")
    if plan.quick:
        lines.append(
            "A quick run: one short measurement of each, and fewer peers. It shows that all of "
            "it works; what it says of speed is noise."
        )
    else:
        lines.append(f"Each number is the median of {plan.runs} runs, if nothing else is said.")
    return "\n".join(lines)
