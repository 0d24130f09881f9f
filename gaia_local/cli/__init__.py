"""The command line: reads arguments and files, calls the API, shows its answers.

Exit status: 0 the workflow is complete (or the call succeeded), 1 Steps failed or still wait, 2 the
call was refused, 130 and 143 stopped by Ctrl-C and SIGTERM. Slow imports are inside the functions
that need them, so that ``--help`` answers at once.

Promises an exit status that tells success from failure, and that shown texts control no terminal.
Never in it: a decision, or an answer that the API doesn't give.
"""

# Each module adds its commands; in this order `--help` lists them.
from gaia_local.cli import beginning  # isort: skip
from gaia_local.cli import starting  # isort: skip
from gaia_local.cli import executing  # isort: skip
from gaia_local.cli import serving  # isort: skip
from gaia_local.cli import seeing  # isort: skip
from gaia_local.cli import inside  # isort: skip
from gaia_local.cli import checking  # isort: skip
from gaia_local.cli import asking  # isort: skip
from gaia_local.cli import measuring  # isort: skip
from gaia_local.cli import documents  # isort: skip
from gaia_local.cli import keeping  # isort: skip
from gaia_local.cli.examples import attach
from gaia_local.cli.options import take_after_commands
from gaia_local.cli.program import app, main

attach(app)
take_after_commands(app)

__all__ = [
    "app",
    "asking",
    "beginning",
    "checking",
    "documents",
    "executing",
    "inside",
    "keeping",
    "main",
    "measuring",
    "seeing",
    "serving",
    "starting",
]
