"""``python -m gaia_local``: the command line."""

from gaia_local.cli import main

if __name__ == "__main__":
    main()
