"""The page for whoever is on call: its views as frozen values, and how they look."""
