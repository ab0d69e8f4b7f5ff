"""The picture of the Telegram messages in the README shows what the product says today."""

from __future__ import annotations

import pictures


def test_the_picture_shows_what_the_product_says() -> None:
    """Made again but for the drawing; dates apart, every word of the messages is compared."""
    said = pictures.words(pictures.chats())
    assert pictures.words_in(pictures.PICTURE.read_bytes()) == said, "run: PYTHONPATH=checks:tests .venv/bin/python tests/pictures.py telegram"
    for headline in ("FIRING UsbForwarderLicenseExpiring", "RESOLVED UsbForwarderLicenseExpiring", "DIGEST: 11 FIRING", "СВОДКА: 11 FIRING"):
        assert headline in said
    assert said.count("reply to RESOLVED") == 2


def test_the_picture_is_small() -> None:
    assert len(pictures.PICTURE.read_bytes()) < 200_000
