"""``python -m scheduler``: the door to the composition root, which chooses the adapters."""

from tinymlaas.farm.scheduler import main

if __name__ == "__main__":
    raise SystemExit(main())
