# SPDX-License-Identifier: Apache-2.0
# From the SDK's documentation, as printed there: Custom Sandbox Configuration. Two things are not as printed: the
# project's path comes from the environment, and network_mode="fetch", which this version refuses with its remedy, is
# tried first and then left out.
import os

from sandforge import Client, SandboxSpec, SandforgeException, WorkspaceMount


def configuration(network_mode):
    return SandboxSpec(
        cpu=4,
        memory_mb=2048,
        disk_gb=20,
        timeout_sec=3600,
        network_mode=network_mode,  # Allow package downloads
        mounts=[
            WorkspaceMount(
                host_path=os.environ["PROJECT"],
                guest_path="/workspace",
                read_only=False,
            ),
        ],
    )


client = Client("http://localhost:8080")
try:
    sandbox = client.create_sandbox(configuration("fetch"))
except SandforgeException as refusal:
    print(refusal)
    sandbox = client.create_sandbox(configuration("offline"))

# Work with the mounted directory
result = sandbox.commands.run(["ls", "-la", "/workspace"])
print(result.stdout)

sandbox.kill()
