"""`python -m bitkiln` is the command `bitkiln`."""

from .cli import main

raise SystemExit(main())
