"""``python -m tinymlaas`` is the command line too."""

from tinymlaas.cli import main

if __name__ == "__main__":
    main()
