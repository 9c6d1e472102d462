# SPDX-License-Identifier: Apache-2.0
# From the SDK's documentation: files, read. Printed there is the try statement; around it stands what it needs.
from sandforge import Client

client = Client("http://localhost:8080")
sandbox = client.create_sandbox()

try:
    content = sandbox.files.read("/etc/hostname")
except NotImplementedError:
    print("files.read() not yet supported")
else:
    print(content, end="")

sandbox.kill()
