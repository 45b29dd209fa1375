"""Numbers: DT-PKC, packing, proofs, oblivious transfer, garbled circuits, randomness.

The package knows integers, bit vectors and the formulas between them. It must not know messages, roles,
files, clocks or an event loop, and it draws no randomness that was not handed to it as `Coins`. Start
with `crypto.dtpkc`; every public function names its section of docs/protocols.md.
"""
