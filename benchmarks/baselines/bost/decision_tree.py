"""A decision tree: a comparison per node, whose bits go under a levelled scheme that evaluates a polynomial.

The levelled scheme is not made here: its ciphertexts are bits in the clear, its operations and bytes
are counted. So the time of a run is that of the comparisons and of the change of scheme without the
levelled scheme's part, in the baseline's favour.

Source:
    Bost et al. 2015, sections IV-D and VII, protocol 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.baselines.bost.comparison import Parties, less_than_plain


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the server's tree: is the attribute below the threshold?

    Attributes:
        attribute: Place in the client's row.
        threshold: A number.
        below: What follows if it is: a node, or a class.
        above: What follows if it is not.
    """

    attribute: int
    threshold: int
    below: "Node | int"
    above: "Node | int"

    @property
    def nodes(self) -> list["Node"]:
        """This node and all under it, in a fixed order."""
        return [
            self,
            *(node for child in (self.below, self.above) if isinstance(child, Node) for node in child.nodes),
        ]


def classify(parties: Parties, width: int, tree: Node, row: Sequence[int], levelled_bytes: int) -> int:
    """Return to the client the class of its row.

    Args:
        parties: The server is A, the client B, who holds the keys.
        width: Attributes and thresholds are below 2^width.
        tree: The server's.
        row: The client's numbers.
        levelled_bytes: Size of a ciphertext of the levelled scheme.
    """
    bits, start, longest = {}, parties.transcript.messages, 0
    for node in tree.nodes:
        before = parties.transcript.messages
        hidden = less_than_plain(parties, width, row[node.attribute], node.threshold)
        bits[id(node)] = change_scheme(parties, hidden, levelled_bytes)
        longest = max(longest, parties.transcript.messages - before)
    # All nodes are compared at once.
    parties.transcript.messages = start + longest
    parties.transcript.send(parties.a, levelled_bytes)
    parties.transcript.did("Levelled.Dec")
    return _evaluate(parties, tree, bits)


def change_scheme(parties: Parties, bit: int, levelled_bytes: int) -> int:
    """Return A's bit under the levelled scheme: B opens it masked and encrypts it, A unmasks it."""
    residues, transcript = parties.residues, parties.transcript
    mask = parties.coins.integer_bits(1)
    parties.send_residues(parties.a, 1)
    opened = residues.decrypt(residues.xor(bit, residues.encrypt(mask)))
    transcript.did("Levelled.Enc")
    transcript.send(parties.b, levelled_bytes)
    return opened ^ mask


def _evaluate(parties: Parties, tree: "Node | int", bits: dict[int, int]) -> int:
    if isinstance(tree, int):
        return tree
    # b·below + (1 − b)·above, all bits of the classes in the slots of one ciphertext
    parties.transcript.did("Levelled.Mul", 2)
    below, above = (_evaluate(parties, child, bits) for child in (tree.below, tree.above))
    bit = bits[id(tree)]
    return bit * below + (1 - bit) * above
