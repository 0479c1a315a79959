from __future__ import annotations

import pytest

# Assertions in this module are shown like those of tests.
pytest.register_assert_rewrite("hooks.endpoint_calls")
