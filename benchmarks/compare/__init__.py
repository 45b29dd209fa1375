"""PrivML beside what others published and what can be installed instead, on the same data in one run.

`python -m benchmarks.compare` runs it. A line of its tables is an `Entry`; `ours`, `original`, `bost`,
`installed` and `clear` make them, `report` prints them.
"""
