"""Checks whether the numbers and dates in a model's answer were said, or follow from what was said."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .words import STOPWORDS, WORD, fold_case_and_accents, folded_word_set, is_written_without_blanks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def _numbered(words: str, first: int = 0) -> dict[str, int]:
    """Each word with its number, counted from ``first``; words between bars have the same number."""
    numbered = enumerate(fold_case_and_accents(words).split(), start=first)
    return {word: number for number, group in numbered for word in group.split("|")}


_UNITS: Final = (
    "zero|nil|nought|null|cero|nul|nulla one|ein|eins|eine|einen|uno|una|un|une|um|uma|first|erste|ersten|primero|premier "
    "two|zwei|zwo|dos|deux|due|dois|second|zweite|zweiten|segundo|both|couple|beide three|drei|tres|trois|tre|third|dritte|dritten|tercero "
    "four|vier|cuatro|quatre|quattro|quatro|fourth|vierte|vierten five|fünf|cinco|cinq|cinque|fifth|fünfte|fünften six|sechs|seis|sei|sixth|sechste|sechsten "
    "seven|sieben|siete|sept|sette|sete|seventh|siebte|siebten eight|acht|ocho|huit|otto|oito|eighth|achte|achten nine|neun|nueve|neuf|nove|ninth|neunte|neunten "
    "ten|zehn|diez|dix|dieci|dez|tenth|zehnte|zehnten eleven|elf|once|onze|undici|eleventh|elfte|elften "
    "twelve|zwölf|doce|douze|dodici|doze|twelfth|zwölfte|zwölften|dozen|dutzend|docena|douzaine|noon|midday|midnight|mittag|mitternacht|mediodía|medianoche|midi|minuit "
    "thirteen|dreizehn|trece|treize|tredici|treze|thirteenth fourteen|vierzehn|catorce|quatorze|quattordici|fourteenth fifteen|fünfzehn|quince|quinze|quindici|fifteenth "
    "sixteen|sechzehn|dieciséis|seize|sedici|dezesseis|sixteenth seventeen|siebzehn|diecisiete|dix-sept|diciassette|seventeenth eighteen|achtzehn|dieciocho|diciotto|eighteenth "
    "nineteen|neunzehn|diecinueve|diciannove|nineteenth"
)
_TENS: Final = (
    "twenty|zwanzig|veinte|vingt|venti|vinte|twentieth|veinti thirty|dreißig|treinta|trente|trenta|trinta|thirtieth forty|vierzig|cuarenta|quarante|quaranta|quarenta "
    "fifty|fünfzig|cincuenta|cinquante|cinquanta|cinquenta sixty|sechzig|sesenta|soixante|sessanta|sessenta seventy|siebzig|setenta|septante|settanta "
    "eighty|achtzig|ochenta|octante|ottanta|oitenta ninety|neunzig|noventa|nonante|novanta"
)
_LARGE: Final = MappingProxyType(
    {
        100: "hundred|hundert|cien|ciento|cientos|cientas|cent|cento|cem|hundreds",
        1000: "thousand|tausend|mil|mille|mila|grand",
        1_000_000: "million|millions|millionen|millón|millones|milhão",
    }
)
_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        **_numbered(_UNITS),
        **{word: 10 * ten for word, ten in _numbered(_TENS, first=2).items()},
        **{
            word: number
            for number, words in _LARGE.items()
            for word in fold_case_and_accents(words).split("|")
        },
    }
)
_PARTS_OF_AN_HOUR: Final = folded_word_set(
    "half halb halbe anderthalb media medio demi demie mezza meia quarter viertel dreiviertel cuarto quart"
)
_IMPLIED_BY_PARTS: Final = frozenset({5, 15, 25, 30, 45, 50, 75})
_FRENCH: Final = re.compile(
    r"\b(soixante|quatre[- ]vingts?|dix)((?:[- ]et)?[- ](?:dix|onze|douze|treize|quatorze|quinze|seize|une?|deux|trois|quatre|cinq|six|sept|huit|neuf)"
    r"(?:[- ](?:sept|huit|neuf))?)?\b"
)
_FRENCH_BASE: Final = MappingProxyType({"s": 60, "q": 80, "d": 10})
_HAN: Final = MappingProxyType(
    {**{letter: at for at, letter in enumerate("零一二三四五六七八九")}, "〇": 0, "两": 2, "両": 2}
)
_HAN_UNITS: Final = MappingProxyType({"十": 10, "百": 100, "千": 1000, "万": 10_000, "萬": 10_000})
_HAN_RUN: Final = re.compile("[零〇一二三四五六七八九十百千万萬两両]+")

_DIGITS: Final = re.compile(r"\d+(?:[.,:’' \u00a0\u202f]\d+)*")
_CLAIM: Final = re.compile(
    r"(?<![a-z\d])(?<![a-z]-)(\d+(?:[.,:’'\u00a0\u202f]\d+)*)(?P<clock> ?(?:[ap]\.?m\b|uhr\b|h(?![a-z])|min(?:s|utes?|uten|utos?)?\b|o['’]clock|時|点))?"
)
_COMPOUNDS: Final = re.compile(fold_case_and_accents("zig|dreißig|hundert|tausend|veinti|cientos|cientas"))
_COMPOUND: Final = re.compile("|".join(sorted(_NUMBERS, key=len, reverse=True)))
_HALF_A_DAY: Final = 12
_MOST_DIGITS: Final = 18
_UNITS_OF_LARGE: Final = (1_000_000, 1000, 100)
_TWO_DIGITS, _MORE_DIGITS = range(21, 100), range(101, 10_000)
_SPELT_OUT: Final = folded_word_set(
    "five six seven eight nine ten eleven twelve fünf sechs sieben acht neun zehn zwölf cinco siete ocho nueve diez doce cinq sept huit neuf dix onze"
)
"""Small numbers that mean nothing else in any language we know. Of smaller ones, a model may have counted something."""

_MONTHS: Final = _numbered(
    "jan|january|januar|enero|janvier|gennaio|janeiro feb|february|februar|febrero|février|febbraio|fevereiro mar|march|märz|marzo|mars|março apr|april|abril|avril|aprile "
    "may|mai|mayo|maggio|maio jun|june|juni|junio|juin|giugno|junho jul|july|juli|julio|juillet|luglio|julho aug|august|agosto|août sep|sept|september|septiembre|septembre|settembre|setembro "
    "oct|october|oktober|okt|octubre|octobre|ottobre|outubro nov|november|noviembre|novembre|novembro dec|december|dezember|dez|diciembre|décembre|dicembre|dezembro",
    first=1,
)
_MONTH: Final = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATES: Final = (
    re.compile(r"\b(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})\b"),
    re.compile(r"(?:(?P<year>\d{4})年)?(?P<month>\d{1,2})月(?P<day>\d{1,2})日"),
    re.compile(
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|º|\.)?(?: of| de)? (?P<name>{_MONTH})\b\.?(?:,? (?:de )?(?P<year>\d{{4}}))?"
    ),
    re.compile(rf"\b(?P<name>{_MONTH})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<year>\d{{4}}))?"),
    re.compile(r"\b(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})?"),
    re.compile(r"\b(?P<month>\d{1,2})/(?P<day>\d{1,2})(?:/(?P<year>\d{2,4}))?\b"),
)
_WEEKDAYS: Final = _numbered(
    "monday|montag|lunes|lundi|lunedì|segunda-feira tuesday|dienstag|martes|mardi|martedì wednesday|mittwoch|miércoles|mercredi|mercoledì "
    "thursday|donnerstag|jueves|jeudi|giovedì friday|freitag|viernes|vendredi|venerdì saturday|samstag|sonnabend|sábado|samedi|sabato sunday|sonntag|domingo|dimanche|domenica"
)
_RELATIVE: Final = folded_word_set(
    "today tonight tomorrow yesterday weekend week weeks day days month months next fortnight morning afternoon evening "
    "heute morgen übermorgen gestern abend wochenende woche wochen tag tage tagen monat nächste nächsten nächster hoy mañana ayer semana semanas fin día días mes próximo próxima "
    "aujourd'hui demain hier semaine semaines jour jours mois prochain prochaine oggi domani settimana giorni amanhã hoje semana dias"
)
_RELATIVE_HAN: Final = re.compile(
    "今日|明日|明後日|昨日|今天|明天|后天|後天|昨天|来週|今週|下周|这周|週|周|曜|星期|礼拜"
)
CALENDAR: Final = frozenset({*_MONTHS, *_WEEKDAYS})
"""Names of months and weekdays, folded."""
OF_TIME: Final = frozenset({*CALENDAR, *_RELATIVE, *_NUMBERS})
"""Words that tell when, or how much, and nothing else; folded."""
_FAR: Final = folded_word_set(
    "weeks month months fortnight wochen monat monate monaten semanas mes meses semaines mois settimane mese mesi semanas mês"
)
_REACH, _REACH_FAR = 16, 62
"""Days: how far ahead or back a day may lie that was spoken of as `tomorrow` or `next week`; as `in three weeks`."""
_KNOWN_SHARE: Final = 0.15
"""Of the words of a language that we know, more than this are among its small words."""


@dataclass(frozen=True)
class NumbersAndDates:
    """The numbers, dates and weekdays that are mentioned in a transcript.

    A model's answer may only contain numbers and dates that were mentioned, or that follow from these.

    Attributes:
        numbers: The numbers, whether said as digits or as words.
        day: The date of the recording.
        months: The months mentioned by name, from 1.
        tolerance_days: How many days a date in an answer may differ from ``day``, because the transcript has
            words such as ``tomorrow``; 0 without such words.
        has_parts: Whether half or quarter hours were mentioned, as in half past nine.
        weekdays: The weekdays mentioned by name; 0 is Monday.
        is_known: Whether the language's number words are known. If not, every answer passes the check.
    """

    numbers: frozenset[int]
    day: date
    has_parts: bool
    tolerance_days: int
    months: frozenset[int]
    weekdays: frozenset[int]
    is_known: bool

    @classmethod
    def from_text(cls, text: str, recorded_on: date) -> NumbersAndDates:
        """Collect the numbers, dates and weekdays in ``text``, the transcript of a recording made on ``recorded_on``."""
        plain = fold_case_and_accents(unicodedata.normalize("NFKC", text))
        words = [word.replace("’", "'") for word in WORD.findall(plain)]
        weekdays = frozenset(_WEEKDAYS[word] for word in words if word in _WEEKDAYS)
        return cls(
            numbers=frozenset(_spoken_numbers(plain, words)),
            day=recorded_on,
            has_parts=not _PARTS_OF_AN_HOUR.isdisjoint(words) or "半" in plain,
            tolerance_days=_tolerance_days(plain, words),
            months=frozenset(_MONTHS[word] for word in words if word in _MONTHS),
            weekdays=weekdays,
            is_known=_is_known(plain, words),
        )

    def has_all_numbers_and_dates_of(self, text: str) -> bool:
        """Whether each number, date and weekday in ``text`` was mentioned, or follows from what was mentioned."""
        if not self.is_known:
            return True
        plain = fold_case_and_accents(unicodedata.normalize("NFKC", text))
        if not all(self._is_weekday_said(word) for word in WORD.findall(plain)):
            return False
        for pattern in _DATES:
            for match in pattern.finditer(plain):
                if not self._is_date_said(match):
                    return False
            plain = pattern.sub(" ", plain)
        return all(
            self._is_said(claim[1], is_time=bool(claim["clock"])) for claim in _CLAIM.finditer(plain)
        ) and all(self._is_hour_said(_NUMBERS[word]) for word in _alone(WORD.findall(plain)))

    def _is_weekday_said(self, word: str) -> bool:
        return word not in _WEEKDAYS or self.tolerance_days > 0 or _WEEKDAYS[word] in self.weekdays

    def _is_date_said(self, match: re.Match[str]) -> bool:
        parts = match.groupdict()
        day, name = int(parts["day"]), parts.get("name")
        month = _MONTHS[name] if name else int(parts["month"])
        if self._is_number_said(day) and (
            month in self.months or self._is_near(day, month, _REACH_FAR) or not name
        ):
            return True
        return self._is_near(day, month, self.tolerance_days) or (
            not name and self._is_near(month, day, self.tolerance_days)
        )

    def _is_near(self, day: int, month: int, tolerance_days: int) -> bool:
        offsets = range(-tolerance_days, tolerance_days + 1) if tolerance_days else ()
        return any(
            (near.day, near.month) == (day, month)
            for near in (self.day + timedelta(offset) for offset in offsets)
        )

    def _is_said(self, claim: str, *, is_time: bool) -> bool:
        groups = re.findall(r"\d+", claim)
        if self._is_number_said(_figure("".join(groups))):
            return True
        test = self._is_time_said if is_time or ":" in claim or len(groups) > 1 else self._is_number_said
        return all(map(test, map(_figure, groups)))

    def _is_hour_said(self, number: int) -> bool:
        """Whether ``number`` was said, as a number or as an hour after noon."""
        return self._is_number_said(number) or self._is_number_said(number + _HALF_A_DAY)

    def _is_time_said(self, number: int) -> bool:
        """Whether ``number`` was said as an hour or a minute, of 12 hours or 24: half past nine is 9:30, and so is halb zehn."""
        if number == 0 or (self.has_parts and number in _IMPLIED_BY_PARTS):
            return True
        hours = {number, number - _HALF_A_DAY, number + _HALF_A_DAY}
        if self.has_parts:
            hours |= {hour + 1 for hour in hours} | {hour - 1 for hour in hours}
        return any(map(self._is_number_said, (hour for hour in hours if hour > 0)))

    def _is_number_said(self, number: int) -> bool:
        """Whether ``number`` was said, whole or in parts: 25 as `twenty five`, 120 as `a hundred and twenty`, 2026 as `twenty twenty-six`."""
        if number in self.numbers or abs(number - self.day.year) <= 1:
            return True
        unit = next((unit for unit in _UNITS_OF_LARGE if number >= unit and unit in self.numbers), None)
        if unit is not None:
            many, rest = divmod(number, unit)
            return (many == 1 or self._is_number_said(many)) and (rest == 0 or self._is_number_said(rest))
        parts = _parts(number)
        return bool(parts) and all(
            part in self.numbers or (bool(_parts(part)) and self._is_number_said(part)) for part in parts
        )


def _parts(number: int) -> tuple[int, ...]:
    """The parts of a number that is spoken as several words; empty if it is one word.

    Tens and units, or what is before and after the hundreds, as in `one fifty` and `twenty twenty-six`.
    """
    if number in _TWO_DIGITS and number % 10:
        return number // 10 * 10, number % 10
    return divmod(number, 100) if number in _MORE_DIGITS and number % 100 else ()


def _alone(words: list[str]) -> Iterator[str]:
    """Small numbers that an answer spells out and that are not part of a larger number."""
    beside = [False, *(word in _NUMBERS for word in words), False]
    for at, word in enumerate(words):
        if word in _SPELT_OUT and not beside[at] and not beside[at + 2]:
            yield word


def _tolerance_days(plain: str, words: list[str]) -> int:
    if not _FAR.isdisjoint(words):
        return _REACH_FAR
    named = any(word in _WEEKDAYS for word in words) or not _RELATIVE.isdisjoint(words)
    return _REACH if named or _RELATIVE_HAN.search(plain) else 0


def _french(plain: str) -> Iterator[int]:
    """``plain`` with `dix-sept`, `soixante-dix` or `quatre-vingt-douze` as one number each."""
    for match in _FRENCH.finditer(plain):
        yield _FRENCH_BASE[match[1][0]] + sum(_NUMBERS.get(word, 0) for word in WORD.findall(match[2] or ""))


def _figure(digits: str) -> int:
    return int(digits[:_MOST_DIGITS])


def _spoken_numbers(plain: str, words: list[str]) -> Iterator[int]:
    for figure in _DIGITS.findall(plain):
        groups = re.findall(r"\d+", figure)
        yield from map(_figure, (*groups, "".join(groups)))
    for word in frozenset(words):
        yield from _spelt(word)
    yield from _french(plain)
    yield from map(_han, _HAN_RUN.findall(plain))


def _spelt(word: str) -> Iterator[int]:
    """The numbers in a word; a German or Spanish word may contain several."""
    if word in _NUMBERS:
        yield _NUMBERS[word]
    elif _COMPOUNDS.search(word):
        yield from (_NUMBERS[part] for part in _COMPOUND.findall(word))


def _han(run: str) -> int:
    total = digit = 0
    for letter in run:
        if letter in _HAN:
            digit = digit * 10 + _HAN[letter]
        else:
            total += (digit or 1) * _HAN_UNITS[letter]
            digit = 0
    return total + digit


def _is_known(plain: str, words: list[str]) -> bool:
    if is_written_without_blanks(plain):
        return bool(re.search("[\u3040-\u30ff\u4e00-\u9fff]", plain))
    return sum(word in STOPWORDS for word in words) >= _KNOWN_SHARE * len(words)
