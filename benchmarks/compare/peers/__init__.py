"""Programs that run in an environment of their own, with a peer's library and without PrivML.

Each reads its task as JSON from stdin and prints a JSON list of figures; `benchmarks.compare.installed` runs
them. They import nothing of this project.
"""
