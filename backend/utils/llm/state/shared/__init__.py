"""State that several processes share: limits for all of them together, and health, trials and scores."""
