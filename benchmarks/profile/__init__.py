"""Where the time of a whole run goes, by part: powers, transfers, gates, messages, topics and the rest.

`python -m benchmarks.profile` runs it. Every role is a process of its own whose functions are wrapped at
the borders between parts (`parts`, `clock`, `process`); `runs` drives them, `report` prints.
"""
