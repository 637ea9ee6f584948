"""State that several processes share: limits held strictly over all of them, and what each has learnt, told to the others."""
