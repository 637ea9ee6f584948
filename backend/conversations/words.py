"""Words, and which of them carry meaning, for several languages and without a dictionary."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
"""A word, or a figure. A hyphen ends it: `gift-card` and `gift card` are the same words."""

_BLANKLESS: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003134f]+"
)
"""Writing without blanks, or with endings that grow on to a word: Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean."""

_STEM: Final = 4
"""Letters that inflections of a word have in common: decide, decided, decision; Test, Testergebnisse."""

_ALWAYS: Final = """
a an the this that these those there here it its it's that's there's what's who what which when where why how whether if
i i'm i'll i've i'd me my mine myself you you're you'll you've you'd your yours he he's he'll she she's she'll him his her
hers they they're they'll them their we we're we'll we've we'd us our ours let let's one ones somebody someone anybody
anyone everybody everyone nobody something anything everything nothing
and or but so because since as than then of to in into on onto at by for from with without about over under up down out off
after before until till while during between through across again also too just only even still yet already ever never
not no nor don't doesn't didn't isn't aren't wasn't won't wouldn't can't cannot couldn't shouldn't haven't hasn't
is are was were be been being am do does did done doing have has had having will would shall should can could may might must
need needs want wants wanted got get gets getting gotten go goes going went gone come comes came coming make makes made
take takes took say says said saying tell tells told think thinks thought know knows knew see sees saw look looks looked
like likes mean means give gives gave put puts really very quite much many more most some any all both each every other
another such own same well okay ok yes yeah yep no nope oh hey hi hello ah hm um uh right sure fine great good nice thanks
thank please sorry maybe perhaps anyway actually well now today bit lot kind sort thing things way few little
der das den dem des ein eine einen einem einer eines und oder aber denn weil dass ob wenn als wie was wer wo wann warum
ich du er sie es wir ihr mich mir dich dir ihm ihn ihnen uns euch mein meine meinen dein deine sein seine ihre unser unsere
ist sind war waren bin bist seid werde wird werden wurde wurden habe hat haben hatte hatten kann kannst können könnte muss
müssen soll sollen will wollen würde würden mag nicht kein keine keinen nichts nie ja nein doch auch noch schon nur sehr so
dann da dort hier jetzt mal ganz gut gern gerne klar danke bitte von zu zum zur mit nach bei aus auf an am im in ins für über
unter vor durch gegen ohne um bis seit man sich mehr heute also
el la los las un una unos unas y o pero porque que qué como cómo cuando donde quien si sí no ni de del al a en por para con
sin sobre entre hasta desde yo tú él ella ello nosotros ellos me te se lo le les nos mi mis tu tus su sus es son está están
ser estar era fue ha he han hay muy más menos ya también esto eso este esta ese esa todo toda vale claro bueno gracias hoy
le la les un une des du de et ou mais donc que qui quoi où quand comment pourquoi je tu il elle on nous vous ils elles
mon ma mes ton ta tes sa ses notre votre leur ce cet cette ces ça c'est est sont était être avoir ai as avons avez ont
suis es pas ne plus très aussi déjà encore oui non bien merci pour par avec sans sur sous dans en au aux y si
il lo gli i una uno e che di da del della nel con per non sono è ho hai ha abbiamo come più anche questo questa
o os um uma não eu ele ela nós eles do dos na nas em com por mais muito também isso está são
"""

_OF_TALK: Final = """
discuss discusses discussed discussing discussion talk talks talked talking conversation speak speaker speakers speaks spoke
mention mentions mentioned agree agrees agreed agreement decide decides decided decision plan plans planned planning ask asks
asked explain explains explained participant participants person people team group family couple meeting call topic summary
overview confirm confirms confirmed remind reminds follow ensure including regarding several various need task tasks
besprechen bespricht besprochen gespräch unterhaltung sprechen spricht einigen entscheiden entscheidet entschieden planen plant
fragt erklärt teilnehmer treffen thema zusammenfassung
hablan habla conversación discuten acuerdan deciden decide planean planea plan reunión tema resumen explica
discutent parlent conversation décident décide prévoient réunion sujet résumé explique
"""


def fold_case_and_accents(text: str) -> str:
    """Convert ``text`` to lower case without accents, to compare words."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def folded_word_set(line: str) -> frozenset[str]:
    """Return the distinct words of ``line``, in lower case without accents."""
    return frozenset(fold_case_and_accents(line).split())


STOPWORDS: Final = folded_word_set(_ALWAYS)
"""Words without a meaning of their own, in six languages."""

OF_TALK: Final = folded_word_set(_OF_TALK)
"""Words with which somebody reports a conversation. They claim nothing that could be false."""


def is_meaningful_word(word: str) -> bool:
    """Whether ``word`` has a meaning of its own. Articles, pronouns, numbers and very short words have none.

    ``word`` must be in lower case without accents.
    """
    return len(word) > 2 and not word[0].isdigit() and word not in STOPWORDS  # noqa: PLR2004 - "of", "zu"


def stem(word: str) -> str:
    """Shorten ``word`` to its first letters, so that inflected forms of a word compare equal.

    ``word`` must be in lower case without accents.
    """
    return word[:_STEM]


def comparison_terms(text: str) -> Iterator[str]:
    """Yield the terms by which ``text`` is compared with other texts.

    These are the stems of meaningful words or, in scripts without blanks, pairs of characters.
    """
    folds = fold_case_and_accents(unicodedata.normalize("NFKC", text))
    for run in _BLANKLESS.findall(unicodedata.normalize("NFC", folds)):
        yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
    for word in WORD.findall(_BLANKLESS.sub(" ", folds)):
        if is_meaningful_word(word):
            yield stem(word)


def is_written_without_blanks(text: str) -> bool:
    """Whether most of ``text`` is in a script that is written without blanks, such as Chinese."""
    return 2 * sum(map(len, _BLANKLESS.findall(text))) > len(text.replace(" ", ""))
