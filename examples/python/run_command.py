# SPDX-License-Identifier: Apache-2.0
"""Runs a command in a fresh sandbox and prints what it wrote and how it ended."""

import os
import sys

from sandforge import Client


def main() -> int:
    command = sys.argv[1:] or ["uname", "-sr"]
    url = os.environ.get("SANDFORGE_URL", "http://localhost:8080")
    with Client(url) as client:
        sandbox = client.create_sandbox()
        try:
            result = sandbox.commands.run(command)
        finally:
            sandbox.kill()
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
