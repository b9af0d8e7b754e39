"""``python -m deploy``: the command line, where its script is not on the path."""

from deploy.cli import main

if __name__ == "__main__":
    main(prog_name="latticescape")
