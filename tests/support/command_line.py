"""The command line, called in this process."""

import json
from typing import Any

from click.testing import CliRunner, Result

from latticescape.deploy.cli.main import main


def latticescape(*arguments: object) -> Result:
    """``latticescape …`` and how it ended."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def json_of(*arguments: object) -> dict[str, Any]:
    """What a command that succeeds prints with ``--json``."""
    result = latticescape(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found
