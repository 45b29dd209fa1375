"""How costs grow: one quantity at a time from small to large, an exponent fitted through the points, a chart.

`python -m benchmarks.scaling` runs it. `axes` says what is varied; start there.
"""
