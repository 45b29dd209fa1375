"""Classification by Bost et al.: the server knows the model, the client its row and alone the answer.

Nothing is trained here, and the model is plain to the server: a weaker promise than PrivML's.

Source:
    Bost, Popa, Tu, Goldwasser, "Machine Learning Classification over Encrypted Data", NDSS 2015.
"""
