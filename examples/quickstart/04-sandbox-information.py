# SPDX-License-Identifier: Apache-2.0
# From the SDK's documentation, as printed there: Sandbox Information.
from sandforge import Client

client = Client("http://localhost:8080")
sandbox = client.create_sandbox()

# Get sandbox information
info = sandbox.info()
print(f"Sandbox ID: {info.id}")
print(f"State: {info.state}")  # "ready", "executing", "destroyed", etc.
