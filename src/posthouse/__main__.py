"""python -m posthouse."""

import sys


def main() -> None:
    """The command line; a Ctrl-C that comes while it is still being imported ends it quietly, too."""
    try:
        from posthouse import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
