"""A small chart with logarithmic axes as SVG: measured points with their ranges, and a fitted line."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.line_chart import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH

Ranged = tuple[float, float, float, float]
"""x, y, least y, greatest y."""


def log_chart(
    title: str, x_title: str, y_title: str, points: Sequence[Ranged], fitted: Sequence[tuple[float, float]]
) -> str:
    """Return the chart; axes span whole decades.

    Args:
        title: Above it.
        x_title: Below it.
        y_title: At the top of the vertical axis.
        points: Measured, all numbers positive.
        fitted: Points of the fitted line.

    Raises:
        ValueError: There are no points, or one is not positive.
    """
    if not points or min(min(point) for point in points) <= 0:
        raise ValueError("a chart with logarithmic axes has some points, all of them positive")
    x_span = _decades([point[0] for point in points])
    y_span = _decades([y for point in points for y in point[1:]])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(x) - x_span[0]) / (x_span[1] - x_span[0]),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(y) - y_span[0]) / (y_span[1] - y_span[0]),
        )

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        ' font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>',
        f'<text x="4" y="{TOP - 6}">{escape(y_title)}</text>',
    ]
    for power in range(y_span[0], y_span[1] + 1):
        _, y = place(10.0 ** x_span[0], 10.0**power)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_label(power)}</text>')
    for power in range(x_span[0], x_span[1] + 1):
        x, _ = place(10.0**power, 10.0 ** y_span[0])
        lines.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        anchor = "end" if power == x_span[1] else "middle"
        lines.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{_label(power)}</text>'
        )
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in fitted))
    lines.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[3]}" stroke-dasharray="4 3"/>')
    for x, y, low, high in points:
        (left, top), (_, bottom), (_, middle) = place(x, high), place(x, low), place(x, y)
        lines.append(f'<path d="M{left:.1f} {top:.1f}V{bottom:.1f}" stroke="{COLOURS[0]}"/>')
        lines.append(f'<circle cx="{left:.1f}" cy="{middle:.1f}" r="3" fill="{COLOURS[0]}"/>')
    return "\n".join([*lines, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))


def _label(power: int) -> str:
    return f"{10.0**power:,.{max(0, -power)}f}"
