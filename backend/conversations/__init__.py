"""The product: a transcript goes in; title, overview, category, action items and folder come out."""
