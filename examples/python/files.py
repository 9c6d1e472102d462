# SPDX-License-Identifier: Apache-2.0
"""Puts a script into a sandbox, runs it there and fetches the file it made."""

import os

from sandforge import Client

SCRIPT = """\
import json, platform
facts = {"kernel": platform.release(), "python": platform.python_version()}
with open("/tmp/demo/facts.json", "w") as out:
    json.dump(facts, out)
"""


def main() -> None:
    with Client(os.environ.get("SANDFORGE_URL", "http://localhost:8080")) as client:
        sandbox = client.create_sandbox()
        try:
            sandbox.files.write("/tmp/demo/job.py", SCRIPT)
            result = sandbox.commands.run(["python3", "job.py"], cwd="/tmp/demo")
            if result.exit_code != 0:
                raise SystemExit(result.stderr)
            for entry in sandbox.files.list("/tmp/demo"):
                print(f"{entry.size:6} {entry.name}")
            print(sandbox.files.read("/tmp/demo/facts.json"))
        finally:
            sandbox.kill()


if __name__ == "__main__":
    main()
