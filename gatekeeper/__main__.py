"""python -m gatekeeper."""

from gatekeeper.cli.app import main

if __name__ == "__main__":
    main()
