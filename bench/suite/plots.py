"""Line plots as SVG: axes, a line and a band from least to most for each series, and a legend."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 44, 52
COLOURS = ["#0b6e4f", "#c8553d", "#3d5a98", "#b08900", "#7a4f9a", "#4a4a4a", "#2a9d8f", "#d1495b"]


class Axis:
    """Values to positions, linear or logarithmic, with ticks at round numbers."""

    def __init__(self, values, start, end, log, zero=True):
        self.start, self.end, self.log = start, end, log
        least, most = min(values), max(values)
        if log:
            self.low, self.high = math.log10(least), math.log10(most)
            pad = max(0.04, (self.high - self.low) * 0.05)
            self.low, self.high = self.low - pad, self.high + pad
        else:
            self.low = min(0, least) if zero else least
            self.high = most + (most - self.low) * 0.05 or 1

    def at(self, value):
        place = math.log10(max(value, 1e-9)) if self.log else value
        share = (place - self.low) / ((self.high - self.low) or 1)
        return self.start + share * (self.end - self.start)

    def ticks(self):
        if not self.log:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step)
            return [number * step for number in range(first, int(self.high / step) + 1)]
        found = []
        steps = (1, 2, 5) if self.high - self.low < 2.5 else (1,)
        for power in range(math.floor(self.low), math.ceil(self.high) + 1):
            found += [step * 10.0 ** power for step in steps]
        return [tick for tick in found if self.low <= math.log10(tick) <= self.high]


def _round_step(rough):
    if rough <= 0:
        return 1
    power = 10 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def number(value):
    """As a person would write it on an axis."""
    if value >= 1_000_000:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:g}"


def points(rows, spec):
    """Label -> [(x, median, least, most)], of what the plot shows."""
    found = {}
    for row in rows:
        series, _, x = row["variant"].partition("@")
        if not x or series not in spec["series"] or row["metric"] not in spec["metrics"]:
            continue
        several = len(spec["metrics"]) > 1
        label = row["metric"].removesuffix("_ms") if several else series
        line = found.setdefault(label if len(spec["series"]) == 1 or not several
                                else f"{series} {label}", {})
        line[float(x)] = (float(x), row["median"], row["min"], row["max"])
    # In the order of the legend that the plot asks for, whatever was measured first.
    wanted = [*spec["series"], *spec["metrics"]]
    labels = sorted(found, key=lambda label: next(
        (place for place, name in enumerate(wanted) if name.removesuffix("_ms") == label), len(wanted)))
    return {label: [found[label][x] for x in sorted(found[label])] for label in labels}


def draw(rows, spec):
    """The SVG text; None if there is nothing to show."""
    lines = points(rows, spec)
    log, log_x = spec.get("log", False), spec.get("log_x", False)
    shown = {label: [p for p in line if (p[1] > 0 or not log) and (p[0] > 0 or not log_x)]
             for label, line in lines.items()}
    shown = {label: line for label, line in shown.items() if line}
    if not shown:
        return None
    everything = [point for line in shown.values() for point in line]
    x = Axis([p[0] for p in everything], LEFT, WIDTH - RIGHT, log_x)
    lows = [p[2] if p[2] > 0 or not log else p[1] for p in everything]
    y = Axis(lows + [p[3] for p in everything], HEIGHT - BOTTOM, TOP, log)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="12" role="img">',
        f"<title>{escape(spec['title'])}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fdfcf9"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="600" fill="#222">'
        f"{escape(spec['title'])}</text>"]
    for tick in y.ticks():
        at = y.at(tick)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e3e0d8"/>'
                     f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#555">'
                     f"{number(tick)}</text>")
    # Points that lie at doublings or decades are their own ticks.
    places = sorted({p[0] for p in everything})
    for tick in places if log_x and len(places) <= 8 else x.ticks():
        at = x.at(tick)
        parts.append(f'<path d="M{at:.1f} {HEIGHT - BOTTOM}v5" stroke="#888"/>'
                     f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle" fill="#555">'
                     f"{number(tick)}</text>")
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#888"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle"'
                 f' fill="#333">{escape(spec["x"])}</text>')
    parts.append(f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
                 f' text-anchor="middle" fill="#333">{escape(spec["y"])}</text>')
    for place, (label, line) in enumerate(shown.items()):
        parts += _line(label, line, COLOURS[place % len(COLOURS)], place, x, y, log)
    return "\n".join(parts + ["</svg>", ""])


def _line(label, line, colour, place, x, y, log):
    at = [(x.at(p[0]), y.at(p[1])) for p in line]
    least = [y.at(p[2] if p[2] > 0 or not log else p[1]) for p in line]
    most = [y.at(p[3]) for p in line]
    band = [f"{px:.1f},{top:.1f}" for (px, _), top in zip(at, most)]
    band += [f"{px:.1f},{low:.1f}" for (px, _), low in reversed(list(zip(at, least)))]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
    legend = TOP + 8 + place * 20
    right = WIDTH - RIGHT + 14
    return [
        f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.13"/>',
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in at[:40]),
        f'<path d="M{right} {legend}h18" stroke="{colour}" stroke-width="3"/>'
        f'<text x="{right + 24}" y="{legend + 4}" fill="#222">{escape(label)}</text>']
