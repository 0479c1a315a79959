from __future__ import annotations

import pytest

# What an act of the day expected and saw is shown like that of a test.
pytest.register_assert_rewrite("hooks.endpoint_calls")
