"""How is Trackio's page served for a folder?

python -m trackyard_trackio.page FOLDER HOST PORT
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Serve it until Ctrl-C; the address that lets one write is not printed."""
    folder, host, port = sys.argv[1:]
    os.environ["TRACKIO_DIR"] = folder
    from trackio import show, utils

    utils.print_write_token_instructions = lambda _: None
    show(host=host, server_port=int(port), open_browser=False)


if __name__ == "__main__":
    main()
