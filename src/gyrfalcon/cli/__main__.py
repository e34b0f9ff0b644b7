"""``python -m gyrfalcon.cli`` is ``gyr``."""

from . import main

main()
