"""The plot: the cost of a query by the number of registered peers."""

import math
from xml.sax.saxutils import escape

import servers

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 190, 44, 56
COLOURS = {"reads": "#1b6ca8", "heartbeats": "#c2571a"}
GREY = "#777777"


def cost(rows, sizes):
    """Returns an SVG with the service's costs, and those of the rivals with 1,000 names as lines."""
    series = {
        name: [(size.peers, size.value(name)) for size in sizes if size.value(name)]
        for name in COLOURS
    }
    levels = {name: servers.cost(rows, name) for name in ("NSD", "Knot", servers.FLOOR)}
    highest = max([found for points in series.values() for _, found in points] + list(levels.values()))
    step = step_of(highest)
    top = math.ceil(highest * 1.05 / step) * step
    peers = sorted({peers for points in series.values() for peers, _ in points})
    first, last = math.log10(peers[0]), math.log10(peers[-1])

    def x(number):
        share = (math.log10(number) - first) / ((last - first) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(number):
        return HEIGHT - BOTTOM - number / top * (HEIGHT - TOP - BOTTOM)

    parts = [text(LEFT, 24, "Processor time of a query, µs, by registered peers", size=15)]
    for place in range(int(top / step) + 1):
        level = place * step
        parts.append(line(x(peers[0]), y(level), x(peers[-1]), y(level), "#e4e4e4"))
        parts.append(text(LEFT - 8, y(level) + 4, f"{level:g}", "end"))
    for number in peers:
        parts.append(text(x(number), HEIGHT - BOTTOM + 20, f"{number:,}", "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "registered peers", "middle"))
    labels = []
    for name, level in levels.items():
        parts.append(line(x(peers[0]), y(level), x(peers[-1]), y(level), GREY, "5 4"))
        labels.append((y(level), f"{name}, {level:.1f} (1,000 names)", GREY))
    for name, points in series.items():
        if not points:
            continue
        places = " ".join(f"{x(number):.1f},{y(found):.1f}" for number, found in points)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        for number, found in points:
            parts.append(f'<circle cx="{x(number):.1f}" cy="{y(found):.1f}" r="3.5" fill="{COLOURS[name]}"/>')
        labels.append((y(points[-1][1]), f"{name}, {points[-1][1]:.1f}", COLOURS[name]))
    for height, label, colour in apart(labels):
        parts.append(text(WIDTH - RIGHT + 10, height + 4, label, colour=colour))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def step_of(highest):
    """A round step that divides the axis into about five parts."""
    power = 10 ** math.floor(math.log10(highest / 5))
    return next(step * power for step in (1, 2, 5, 10) if step * power * 5 >= highest)


def apart(labels):
    """Moves labels down until they do not overlap."""
    below = 0
    for height, label, colour in sorted(labels):
        height = max(height, below)
        below = height + 15
        yield height, label, colour


def line(x1, y1, x2, y2, colour, dashes=""):
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'
    )


def text(x, y, words, anchor="start", size=12, colour="#222222"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(words)}</text>'
    )
