"""``python -m latticescape``: the command line."""

from latticescape.deploy.cli.main import main

if __name__ == "__main__":
    main(prog_name="latticescape")
