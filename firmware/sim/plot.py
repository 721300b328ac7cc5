"""Draws docs/scale.svg from what `scale` printed: python3 firmware/sim/plot.py RUN.txt ... > docs/scale.svg

Each file is the whole print of one run. Left: after how long parts are whole, by the number of boxes. Right: how far
from the origin the edges of the largest run are. Refuses to measure anything itself.
"""
import math
import re
import sys

WIDTH, HEIGHT, LEFT, TOP = 360, 220, 50, 30
COLOURS = {"p50": "#2a6f97", "p95": "#e09f3e", "p99": "#9e2a2b"}


def read(path):
    text = open(path, encoding="utf-8").read()
    boxes = int(re.search(r"boxes: (\d+)", text)[1])
    late = {name: int(ms) for name, ms in re.findall(r"(p\d+) (\d+)", re.search(r"whole after.*", text)[0])}
    depths = [int(count) for count in re.search(r"edges by depth \[(.*)\]", text)[1].split(", ")]
    return boxes, late, depths


def text(x, y, words, anchor="middle"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'


def frame(x, title):
    return [f'<rect x="{x}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>', text(x + WIDTH / 2, 18, title)]


runs = sorted(read(path) for path in sys.argv[1:])
out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 300" font-family="sans-serif" font-size="12">']
out += ['<rect width="880" height="300" fill="#fff"/>'] + frame(LEFT, "milliseconds until a part is whole, by boxes")
first, last = (math.log(runs[0][0]), math.log(runs[-1][0]))
top = max(run[1]["p99"] for run in runs) * 1.1
for name, colour in COLOURS.items():
    at = lambda run: (LEFT + WIDTH * (math.log(run[0]) - first) / max(last - first, 1e-9), TOP + HEIGHT * (1 - run[1][name] / top))
    points = " ".join("%.0f,%.0f" % at(run) for run in runs)
    out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    out.append(f'<g fill="{colour}">{text(LEFT + 6, at(runs[0])[1] - 5, name, "start")}</g>')
for run in runs:
    out.append(text(LEFT + WIDTH * (math.log(run[0]) - first) / max(last - first, 1e-9), TOP + HEIGHT + 16, run[0]))
for ms in range(0, int(top), 250):
    out.append(text(LEFT - 6, TOP + HEIGHT * (1 - ms / top) + 4, ms, "end"))
right = LEFT + WIDTH + 70
out += frame(right, f"share of edges by their depth, {runs[-1][0]} boxes")
depths = runs[-1][2]
wide = WIDTH / len(depths)
for depth, count in enumerate(depths):
    tall = HEIGHT * count / max(depths) * 0.95
    out.append(f'<rect x="{right + depth * wide + 4:.0f}" y="{TOP + HEIGHT - tall:.0f}" width="{wide - 8:.0f}" height="{tall:.0f}" fill="#2a6f97"/>')
    out.append(text(right + (depth + 0.5) * wide, TOP + HEIGHT + 16, depth))
    out.append(text(right + (depth + 0.5) * wide, TOP + HEIGHT - tall - 3, f"{100 * count / sum(depths):.1f} %"))
print("\n".join(out + ["</svg>"]))
