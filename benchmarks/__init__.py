"""What everything costs at 3072 bits, in CPU seconds and in exponentiations.

Not a part of the product: it may use every package and must not be used by any. Run it with
`python -m benchmarks`; start with `measure`, which says how a figure comes about.
"""
