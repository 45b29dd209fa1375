"""Two-party building blocks: one file per block, both halves in it.

MU's half and SU's half stand side by side, so that a reader checks MU's unmasking against SU's
answer line by line. The halves are plain functions of values; a learner's program strings them
together into round trips. Start with `opening`, then `multiply`, `garble`, `seal`.
"""
