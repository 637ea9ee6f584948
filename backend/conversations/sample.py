"""An example transcript, to show what the product does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from .transcript import Segment, Transcript

_TURNS: Final = (
    ("Mira", "Good morning. Can we decide today when the new booking page goes live?"),
    ("Jonas", "The page itself is done, but the payment test still fails for gift cards."),
    ("Mira", "How long would it take you to fix that?"),
    ("Jonas", "About two days. I will have it repaired by Wednesday evening."),
    ("Aylin", "Then I can run the whole test plan on Thursday and send everybody the results."),
    ("Mira", "Good. What about the texts for the customers?"),
    ("Aylin", "The German ones are ready. The English ones need somebody who checks them."),
    ("Mira", "I will check the English texts tomorrow before lunch."),
    ("Jonas", "One more thing: the old page should stay up for a week, in case we have to go back."),
    ("Mira", "Agreed, we keep the old page for one week."),
    ("Aylin", "So we go live next Monday at nine, if Thursday's tests are green?"),
    ("Mira", "Yes. Monday at nine, and I will tell the support team today. Thank you both."),
)
_SECONDS_PER_TURN = 6.0

SAMPLE: Final = Transcript(
    segments=tuple(
        Segment(
            speaker=speaker, text=text, start=turn * _SECONDS_PER_TURN, end=(turn + 1) * _SECONDS_PER_TURN
        )
        for turn, (speaker, text) in enumerate(_TURNS)
    ),
    started_at=datetime(2026, 11, 17, 8, 30, tzinfo=UTC),
    time_zone="Europe/Vienna",
    language="en",
)
