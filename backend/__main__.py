"""Makes ``python -m backend`` run the command line of `backend.cli`."""

from backend.cli import main

main()
