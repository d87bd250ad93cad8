"""``python -m fullwell.cli`` is the command ``fullwell``."""

import sys

from fullwell.cli.main import main

sys.exit(main())
