"""`python -m rayal` is the `rayal` command, also where no script is installed, as in a Ray job."""

from rayal.cli import command

if __name__ == "__main__":
    command()
