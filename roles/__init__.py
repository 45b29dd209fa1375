"""The conversation: what each party says when, as values in and values out.

A role is a state machine without input or output: the same messages in the same order give the same
state and the same bytes. It must not know topics, processes, clocks or where randomness comes from.
Both halves of a two-party protocol stand in one file of `roles.building_blocks`; start there, then read
a classifier in `roles.classifiers`.
"""
