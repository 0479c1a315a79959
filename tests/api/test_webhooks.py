from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.webhooks import signature_fits


@pytest.mark.parametrize(
    ("signature", "secret", "fits"),
    [
        ("whsk_a", "whsk_a", True),
        ("whsk_\u00fc", "whsk_\u00fc", True),
        ("whsk_a", "whsk_b", False),
        ("", "", False),
        (None, "whsk_a", False),
        ("\ud800", "whsk_a", False),
        ("whsk_a", "\ud800", False),
        ("\ud800", "\ud800", False),
    ],
)
def test_a_signature_fits_or_does_not_and_never_breaks(signature: str | None, secret: str, fits: bool) -> None:
    assert signature_fits(signature, secret) is fits
