"""`python -m recloom` is `recloom`."""

from recloom.cli import main

if __name__ == "__main__":
    main()
