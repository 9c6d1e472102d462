# SPDX-License-Identifier: Apache-2.0
"""A guest with as many vCPUs as there can be.

vcpus_test.py MONITOR IMAGES, on a machine with /dev/kvm; run.py finds one.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import boot_test  # noqa: E402


class VcpusTest(boot_test.MonitorTest):
    """Whole boots."""

    def test_thirty_two_vcpus(self) -> None:
        self.boot_as_the_product(32)


if __name__ == "__main__":
    boot_test.IMAGES = Path(sys.argv.pop())
    boot_test.MONITOR = Path(sys.argv.pop()).resolve()
    unittest.main(verbosity=2)
