"""``python -m workers --pool NAME``: the door to the composition root, which chooses adapters."""

from tinymlaas.farm.worker import main

if __name__ == "__main__":
    raise SystemExit(main())
