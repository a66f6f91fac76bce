"""`python -m rayal` is the `rayal` command, also where no script is installed, as in a Ray job."""

from rayal.cli import main

if __name__ == "__main__":
    main()
