"""The learners: for each MU's program, SU's answers, and the plaintext twin beside them."""
