"""``python -m memfs.cli``: the command where no script is installed."""

from memfs.cli.main import main

if __name__ == "__main__":
    main()
