"""How fast it is, against what the machine would let it be."""
