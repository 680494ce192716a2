"""The command line's way in: a Ctrl-C while it is still loading is heeded as later on."""

from tinymlaas.stopping import heeded


def main() -> None:
    """Run the command line; see `tinymlaas.cli`."""
    with heeded():
        from tinymlaas import cli

        cli.main()


if __name__ == "__main__":
    main()
