"""`python -m tacita.cli` is the program `tacita`."""

from tacita.cli.app import main

main()
