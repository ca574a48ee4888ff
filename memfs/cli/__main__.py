"""``python -m memfs.cli``: the command where no script is installed."""

from memfs.cli.entry import main

if __name__ == "__main__":
    main()
