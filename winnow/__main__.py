"""The command `winnow` as `python -m winnow`, where its script is not on the PATH."""

from winnow.cli import main

main()
