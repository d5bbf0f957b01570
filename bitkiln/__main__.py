"""`python -m bitkiln` is the command `bitkiln`."""

from bitkiln.cli import main

raise SystemExit(main())
