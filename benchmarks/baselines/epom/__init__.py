"""EPOM, the toolkit that came with DT-PKC, and the private naive Bayes built on it, one value a ciphertext.

Source:
    Liu, Deng, Choo, Weng 2016 (DT-PKC); Talbi 2020 (PrivML).
"""
