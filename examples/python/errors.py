# SPDX-License-Identifier: Apache-2.0
"""Every way in which a sandbox can say no, and what a program learns from it."""

import os

from sandforge import (
    Client,
    ExecutionError,
    InvalidSpecError,
    SandboxNotFoundError,
    SandboxSpec,
    SandforgeException,
)


def main() -> None:
    with Client(os.environ.get("SANDFORGE_URL", "http://localhost:8080")) as client:
        try:
            client.create_sandbox(SandboxSpec(network_mode="telepathy"))
        except InvalidSpecError as error:
            print(f"refused: {error}")

        sandbox = client.create_sandbox()
        try:
            # A command that fails is a result ...
            late = sandbox.commands.run(["sleep", "60"], timeout_sec=1)
            print(f"exit code {late.exit_code}, ended by {late.ended_by}")
            # ... a file that is missing is an error with a machine word.
            sandbox.files.read("/no/such/file")
        except ExecutionError as error:
            print(f"the guest went away: {error}")
        except SandforgeException as error:
            print(f"{error.code}: {error}")
        finally:
            sandbox.kill()

        try:
            sandbox.commands.run(["true"])
        except SandboxNotFoundError as error:
            print(error)


if __name__ == "__main__":
    main()
