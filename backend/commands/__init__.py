"""Commands, each or each group of them in a module of its own, named like it; `backend.cli` lists them."""
