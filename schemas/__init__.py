"""What travels and what is stored: envelopes, chunks, rounds, queries, journal entries, the data schema.

The package knows bytes: one encoding per message, fixed widths, limits, and a reason code for whatever
does not fit. It must not know when a message is sent, to whom, or what its ciphertexts hide. Start with
`schemas.envelope`.
"""
