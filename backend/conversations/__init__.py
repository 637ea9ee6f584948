"""Turns a transcript into a stored conversation: title, overview, category, action items and folder."""
