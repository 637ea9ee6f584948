"""Where an answer keeps what LangChain has no place for."""

OTHERS_KEY = "other_finish_reasons"
"""In a chunk's metadata: why choices beside the first ended. Of a whole answer every choice is a generation."""
