"""A small line chart as SVG: a few curves over the same axis, readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from html import escape

Curve = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 36, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#8a8a8a", "#cc79a7", "#e69f00")
TICKS = 5


def line_chart(title: str, x_title: str, y_title: str, curves: Mapping[str, Curve]) -> str:
    """Return the chart.

    Args:
        title: Above it.
        x_title: Below it.
        y_title: At the top of the vertical axis.
        curves: Points in ascending order by the curve's name; at most as many as there are colours.

    Raises:
        ValueError: There are no points, or too many curves.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points or len(curves) > len(COLOURS):
        raise ValueError("a chart has some points, and no more curves than colours")
    x_most = max(x for x, _ in points) or 1.0
    y_least, y_most = min(y for _, y in points), max(y for _, y in points)
    y_least, y_most = 5 * (y_least // 5), 5 * (y_most // 5 + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * x / x_most,
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y_least) / (y_most - y_least),
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
    for tick in range(TICKS + 1):
        value = y_least + (y_most - y_least) * tick / TICKS
        _, y = place(0, value)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        x, _ = place(x_most * tick / TICKS, y_least)
        anchor = "end" if tick == TICKS else "middle"
        label = f"{x_most * tick / TICKS:,.0f}"
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{label}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in curve))
        lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = HEIGHT - BOTTOM - 10 - 16 * (len(curves) - 1 - number)
        lines.append(
            f'<text x="{WIDTH - RIGHT - 8}" y="{y}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])
