"""The `blofin` command.

Belongs here: reading arguments, showing progress and tables, exit codes. Does not belong here: any work; commands
call `plan`, `runner` and the domain packages.
"""

from blofin_assets.cli.main import main

__all__ = ["main"]
