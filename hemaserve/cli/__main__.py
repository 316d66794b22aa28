"""`python -m hemaserve.cli`: the command, where its script is not on the path."""

from hemaserve.cli import app

if __name__ == "__main__":
    app(prog_name="hemaserve")
