"""Constants of the sigmoid: value and slope of σ − ½ on 16 segments of ½.

In units of 2^−15 and per 1/128 of the argument. A test recomputes them with 60-digit decimals.
They are part of the definition of the function, so that they must not come from a platform's
floating point at run time.
"""

# fmt: off
SIGMOID_VALUES: tuple[int, ...] = (
    37, 4068, 7652, 10479, 12531, 13917, 14860, 15431,
    15790, 16036, 16179, 16247, 16320, 16345, 16360, 16370,
)
SIGMOID_SLOPES: tuple[int, ...] = (63, 56, 44, 32, 22, 15, 9, 6, 4, 2, 1, 1, 0, 0, 0, 0)
# fmt: on
