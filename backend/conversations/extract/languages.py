"""The phrases with which people promise, ask and agree, for each language.

Each pattern is matched against a sentence without regard to case. ``(?P<who>)`` is a name, and what follows the
match is what somebody will do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NEVER: Final = r"(?!)"


@dataclass(frozen=True)
class LanguagePhrases:
    """Patterns of the phrases with which people of one language promise, request and accept tasks.

    Attributes:
        code: The language code, such as ``en``.
        marks: Small words by which the language is recognized.
        promises: Phrases before a task that the speaker promises to do: "I will".
        duties: Phrases before a task that the speaker has to do: "I must".
        idle: Phrases after a promise that show that it is no task: states, opinions, refusals.
        others: Phrases before a task that a person called by name will do.
        requests: Phrases before a task that another person is asked to do.
        offers: Phrases before a task that the speaker offers to do, as a question.
        agrees: The beginning of an answer that accepts.
        declines: The beginning of an answer that declines.
        takes: Phrases that take on the task that was just mentioned: "I'll do it".
        points: The beginning of a promise that names its task only by a pronoun.
        calls: Phrases before a task that is left to anybody, such as "somebody should".
        unsure: Phrases that show that a sentence is only a thought, not a promise.
        breaks: Words at which a new thought begins.
    """

    code: str
    marks: frozenset[str]
    promises: re.Pattern[str]
    duties: re.Pattern[str]
    idle: re.Pattern[str]
    others: re.Pattern[str]
    requests: re.Pattern[str]
    offers: re.Pattern[str]
    agrees: re.Pattern[str]
    declines: re.Pattern[str]
    takes: re.Pattern[str]
    points: re.Pattern[str]
    calls: re.Pattern[str]
    unsure: re.Pattern[str]
    breaks: re.Pattern[str]


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns) or _NEVER, re.IGNORECASE)


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


def _named(pattern: str) -> re.Pattern[str]:
    """A pattern that is case-sensitive, because names are recognised by their capitals."""
    return re.compile(pattern)


_NAME: Final = r"(?P<who>(?:(?:Mr|Mrs|Ms|Dr|Prof|Herr|Frau|Señor|Señora|Monsieur|Madame)\.? )?[^\W\d_a-zß-öø-ÿ][\w’-]*(?: [^\W\d_a-zß-öø-ÿ][\w-]+)?)"
_KIN: Final = (
    r"(?:[Mm]y|[Oo]ur|[Tt]he|[Yy]our|[Mm]ein|[Mm]eine|[Uu]nser|[Uu]nsere|[Mm]i|[Mm]on|[Mm]a) "
    r"(?P<kin>assistant|wife|husband|partner|brother|sister|mother|mom|mum|father|dad|son|daughter|boss|manager|colleague|"
    r"secretary|accountant|lawyer|teacher|doctor|nurse|intern|roommate|neighbour|neighbor|friend|aunt|uncle|grandma|grandpa|"
    r"Frau|Mann|Bruder|Schwester|Mutter|Vater|Chef|Chefin|Kollege|Kollegin|mujer|marido|hermano|hermana|jefe|jefa|"
    r"femme|mari|frère|sœur|chef)"
)
_FILLER: Final = r"(?:u+h+m*|u+m+|e+r+m*|hm+|you know|like|i mean),?"
_EASY: Final = (
    rf"(?:(?:{_FILLER}|also|just|then|definitely|certainly|gladly|happily|quickly|personally|probably|actually|go ahead and|try to|try and|"
    r"do is(?: to)?|make sure to|be sure to|be happy to|be glad to|see (?:if|whether) I can|go and) )*"
)
_STILL: Final = r"(?:(?:still|also|just|really|actually|definitely|probably|totally|first) )*"
_DOING: Final = (
    r"(?:ask|arrange|bake|book|bring|buy|call|cancel|check|clean|collect|contact|cook|deliver|draft|drive|drop|email|file|fill|fix|forward|get|grab|"
    r"handle|invite|make|message|move|order|organi[sz]e|pack|pay|phone|pick|post|prepare|print|publish|put|read|remind|rent|reserve|return|ring|"
    r"schedule|send|set up|share|ship|show|sign|sort|submit|take|talk|tell|text|update|upload|wash|water|write)"
)
"""What one person does for others."""

ENGLISH: Final = LanguagePhrases(
    code="en",
    marks=_words("the and is are was you i it that of to in we have i'll don't what for with my"),
    promises=_any(
        rf"\bI(?:[’']ll| will| shall|[’']m (?:also |just |still )?going to| am (?:also |just |still )?going to|[’']?m (?:also |just |still )?gonna|[’']m about to)(?![’'\w])(?! (?:have|need) to\b) ?{_EASY}",
        rf"\b(?:I[’']?m+a|lemme) {_EASY}(?=\w)",
        rf"(?<!is )(?<!was )(?<!are )(?<!feel )(?<!be )\bill (?={_DOING}\b)",
        rf"\bI (?:promise|agree|volunteer|offer|plan|intend) to {_EASY}",
        r"\bI promise (?:that )?I[’']ll ",
        rf"\bI(?:[’']m| am|[’']d be| would be) (?:happy|glad) to {_EASY}",
        rf"\bI (?:also )?can(?![’'\w]) ?{_EASY}",
        r"\bI (?:don[’']t|wouldn[’']t) mind (?=(?!being|having|if)\w+ing\b)",
        r"\bleave (?=(?!it\b|that\b|this\b|me\b)(?:\w+ ){1,8}(?:to|with) me\b)",
        r"(?:^|[,.] |\b(?:and|so|then|okay) )(?=(?:the|that|my) (?:[\w’']+ ){1,4}(?:is|are) on me\b)",
        r"\byou(?:[’']ll| will) (?=(?:have|get) (?:(?:the|my|your|it|them|this|that|those|an?) (?!hang\b|chance\b|good\b|great\b|nice\b)|\w+ from me\b)"
        r".*\b(?:from me|by|tomorrow|tonight|today|within|before|first thing|on (?:mon|tues|wednes|thurs|fri|satur|sun)day)\b)",
        r"\blet me (?=\w)(?!note|see|think|know|explain|tell|guess|put it|be\b|start|finish)",
        r"\bI(?:[’']m| am) (?:responsible for|in charge of|taking care of|taking on) ",
        r"\bI(?:[’']m| am) (?=(?!going|working|watching|thinking|feeling|looking|waiting|coming|staying|meeting|getting|having|trying"
        r"|leaving|doing|not|seeing|sitting|living|starting|flying|running|eating)\w+ing\b.*\b(?:now|today|tonight|tomorrow|later|soon|"
        r"this|next|on|by|right)\b)",
        r"(?<=\btoday )I(?:[’']m| am) (?=\w+ing\b)",
        r"\bI(?:[’']m| am) (?=bringing|baking\b|booking\b|getting (?:the|us|you|some|tickets|an?)\b|making (?:my|the|some|us|an?)\b|picking (?:\w+ ){1,3}up\b)",
        rf"\bwe(?:[’']ll| will|[’']re going to| are going to)(?![’'\w]) {_EASY}(?=(?:put|send|bring|buy|book|call|email|write|order|"
        r"pick|prepare|organi[sz]e|fix|publish|post|share|cook|make|invite|pay|check|ship|deliver|arrange|let you know)\b)",
    ),
    duties=_any(
        rf"\bI {_STILL}(?:need to|have to|must|have got to|got to|gotta|should|ought to)(?![’'\w]) {_STILL}{_EASY}",
        rf"\bI(?:[’']ve {_STILL}got to|[’']d better|[’']ll (?:have|need) to|[’']m supposed to)(?![’'\w]) {_EASY}",
        r"\b(?:remind me|note to self:?|remember) to ",
    ),
    idle=re.compile(
        r"(?:not|never|always|be|been|have (?:been|to|had|(?:an?|the)(?! .*\b(?:ready|done|finished|fixed|sorted|out|sent|printed)\b))|see|hear|imagine|understand|feel|think|know|remember|believe|say|admit|"
        r"bet|guess|miss|live|wait|die|love|like|hate|regret|need|want|tell you (?:what|something|that)|tell (?:that|the difference)|"
        r"get (?:it|you|there|used|old)|stop|lose|win|survive|manage|cope|only|hardly|barely|reproduce|confess|afford|stand|forget|"
        r"forgive|quit|give up|watch (?:anything|it)|explain why|ask you|ask,|me\b)\b(?! (?:an? )?note|ing)"
        r"|(?:go|leave|run|work|hurry|sleep|stay|start|finish|eat|sit|come)(?: (?:now|soon|then|home|early|late|away|out|to (?:work|bed|sleep|school)|"
        r"there|back|until .*|in .*))?\W*$",
        re.IGNORECASE,
    ),
    others=_named(
        rf"(?:\b{_NAME}|\b{_KIN})(?: said (?:he|she|they)(?:[’']ll| will|[’']d| would)| promised to| volunteered to| agreed to| offered to| will|[’']ll|"
        r"(?: is|[’']s)(?: going to| gonna|(?= (?:baking|booking|bringing|cooking|driving|handling|organi[sz]ing|picking|sending|sorting|taking care)\b))| has to| needs to| should| can| is supposed to)(?![’'\w]) (?:also |then |just )*"
        r"(?!be\b|have\b|not\b|never\b|need\b|cost\b|start\b|take\b|arrive\b|come\b|happen\b|want\b|know\b|see\b|feel\b|like\b|love\b)"
    ),
    requests=_any(
        r"(?!^(?:would|will|could|can) you(?: really)?\W*$)\b(?:can|could|would|will|won[’']t) you\b(?! (?:that|it|this|i)(?:[’']d| would)) ?+(?:please |also |maybe |perhaps |kindly |be so kind (?:as|and) (?:to )?)*"
        r"(?!tell me (?:how|what|why|where)|hear|see|believe|imagine|remember|like|be\b|have\b|say|explain|recommend|mind)",
        r"\bwould you mind |\bwhy don[’']t you ",
        r"\byou(?:[’']ll| will|[’']re going to| are going to) (?=[^?]+, (?:right|okay|ok|yes|correct|alright)\?)",
        r"\b(?:can|could) (?:I|we) ask you to ",
        rf"^(?:(?:okay|ok|so|and|then|well|great|good|right|alright|yes|yeah|just|[^\W\d_]\w+,),? )*(?={_DOING} (?:me|us|the|your|them|him|her|it|an?|some|those|that|my|our)\b)",
        rf"(?:, |^)you (?={_DOING} (?:the|your|them|him|her|it|an?|some|those|my|our)\b)",
        r"^(?:(?:and|so|then|okay|well),? )*(?=\w+ (?:the|your|an?|some|me|us|it|them|that|those|my|our)\b.* (?:will|would|can|could) you\b)",
        r"\b(?:don[’']t|do not) forget to |\bmake sure (?:to |you )(?!re\b)",
        r"\b(?:do you want|would you like|are you able) to (?=(?:take|handle|own|do|write|prepare|send|organi[sz]e|call)\b)",
        r"\bI(?:[’']d like| need| want) you to (?:do is (?:to )?)?",
        r"(?:^|[,;] |\band |\bthen )please (?!do\b(?! (?:the|your|my|these|those|some) )|don[’']t|note|God|,)(?=\w)",
        r"\byou (?:should|need to|have to|must) (?=(?:send|call|write|ask|talk|check|fill|sign|bring|book)\b)",
    ),
    offers=_any(
        rf"\b(?:shall|should) I {_EASY}(?!be\b|keep|stop|start|worry|go\b|move|stay|do\b)",
        rf"\b(?:can|could|may) I {_EASY}(?=[^?]*\b(?:you|them|him|her|everyone|everybody)\b)(?!ask|see|have|get|talk|speak)",
        r"\b(?:do you )?want me to |\bwould you like me to |\bwhy don[’']t I |\b(?:how about|what if) I (?!was|were|had)",
    ),
    agrees=re.compile(
        r"(?:(?:oh|ah|hm+|well|u+m+|u+h+|er|like|so|haha|ha),? )*(?:yes|yeah|yep|yup|mhm|mm-?hm+|uh-?huh|sure|of course|can do|not a problem|no worries|roger|you got it|i[’']ll try|okay|ok|absolutely|certainly|definitely|no problem|gladly|"
        r"with pleasure|happy to|will do|fine|all right|alright|right|great|good|perfect|sounds good|please do|please|got it|on it|"
        r"i will\b(?! not)|i[’']ll|i can\b(?![’'])|consider it done|leave it|that would be (?:lovely|great|nice|wonderful|perfect|good|helpful|kind)|"
        r"lovely|thanks|thank you|deal|[^?]{0,30}\byes\b|you bet|aye|cool|my pleasure|done\b|i[’']d (?:love|appreciate))\b",
        re.IGNORECASE,
    ),
    declines=re.compile(
        r".{0,40}\b(?:no\b(?! problem| worries)|nope|sorry|can[’']t|cannot|won[’']t|don[’']t (?:think|have|want)|rather not|unfortunately|i[’']m afraid|"
        r"not (?:really|today|now|this|until)|already (?:did|done|have|sent)|(?:i|we)(?:[’']ve| have)?(?: already| just)? (?:sent|did|done|made|wrote|called|"
        r"booked|paid|finished|bought|gave|took|asked|talked|spoke|fixed|told|ordered))\b",
        re.IGNORECASE,
    ),
    takes=re.compile(
        r"(?:do|take|handle|make|manage|sort|fix|arrange|own|cover|get on|work on|deal with|take care of|look after|see to|get to|look into|get)? ?"
        r"(?:it|that|this|those|them|so|these|that one|this one)?(?: (?:out|on|for you|then|now|later|too|myself|today|tonight|tomorrow|right away|at once|"
        r"this (?:afternoon|evening|week|morning)|tomorrow morning|after (?:lunch|work)|by (?:the end of )?(?:the |this |next )?\w+|on \w+|first thing|as soon as I can))*"
        r"|(?:have|get) (?:it|that|this|those|them|everything) (?:ready|done|sorted|finished|fixed|out|over to you)(?: \w+){0,6}"
        r"|(?:will do|on it|i[’']m on it|leave (?:it|that) (?:to|with) me|consider it done|got it|my job|count on me)(?: \w+){0,3}",
        re.IGNORECASE,
    ),
    points=re.compile(
        r"\w+ (?:(?:up|out|off|back|over|to|with|after|at|for|into|about|all|both|some|of|each|another) )*(?:it|that|this|them|those|these|one|some|him|her)(?![’'\w])"
        r"(?=\W*$|\W? (?:about|after|again|along|and|as|at|away|back|before|by|done|down|finished|first|fixed|for|from|home|in|into|later|myself|next|now|off|on|out|"
        r"over|ready|repaired|right|sorted|soon|straight|then|the (?:kids|moment|minute|day|week)|this|to|today|tomorrow|tonight|too|up|when|while|with|you)\b)",
        re.IGNORECASE,
    ),
    calls=re.compile(
        r"^(?:[\w ]{0,16}[,:] )?(?:(?:and|but|so|then|also|okay|ok|well|good|great|now|thanks|thank you|fine),? )*(?:(?:somebody|someone|anybody|anyone|who|we|one of us)"
        r"(?:[’']ll| will| can| could| has to| have to| needs to| need to| should| must| still need to| still have to| wants to| is going to|[’']s going to)? "
        r"|(?:can|could|will|would|should) (?:somebody|someone|anybody|anyone|one of you|one of us|you|we) |(?:please|let[’']s|i think|there[’']s|there is) )*",
        re.IGNORECASE,
    ),
    unsure=re.compile(
        r"\b(?:if i (?:ever|were|was|had|win|won|could)|i[’']d rather|maybe i|perhaps i|i wish|i might|i may|one day|someday|in another life|"
        r"i (?:keep|kept) saying|(?:don[’']t know|not sure|no idea|wonder|depends|depending on|ask(?:ed)? me) (?:if|whether|how|when) i|(?:you|he|she|they) (?:said|told me|asked me|thought|claimed)|i (?:said|thought|told (?:him|her|them|you)|swore|hoped|wonder)|unless i|supposed i|i don[’']t think|you think i)\b",
        re.IGNORECASE,
    ),
    breaks=re.compile(
        r"[;:–—]|\s-\s|,? (?:and|but|because|although|though) (?=(?:I|we|you|he|she|they|it|that|there|everybody|everyone|the \w+ (?:is|are|was))\b)"
        r"|, (?=(?:I|we|you|he|she|they|it|that[’']s|there|the \w+ (?:is|are|was|go|goes|has|have))\b)|, (?:okay|ok|right|alright|then|by the way|promise|i promise|no problem|no worries|for sure)\b",
        re.IGNORECASE,
    ),
)

_DE_VERBS: Final = (
    r"(?:mache?|schicke?|sende|rufe?|bringe?|kümmere|übernehme|besorge?|kaufe?|bestelle?|buche?|schreibe?|prüfe?|hole?|organisiere|reserviere|"
    r"frage?|melde|bereite|erledige|kläre?|überweise|gebe?|lade|repariere|koche?|backe?|leite|vereinbare|erstelle?|aktualisiere|teste|"
    r"drucke?|unterschreibe?|zahle|bezahle?|suche|plane?|putze?|räume?|spreche?|rede|informiere|kontaktiere|korrigiere|installiere|überprüfe?|"
    r"sage?|zeige?|maile?|fülle?|packe?|stelle?|schaue?|sehe|lese|lerne|fahre?|verschiebe?|storniere|kündige|richte|trage|sorge)"
)
GERMAN: Final = LanguagePhrases(
    code="de",
    marks=_words("der die das und ist ich du wir nicht ein eine zu mit auf für es den habe wird kann ja"),
    promises=_any(
        r"\bich werde (?:auch |dann |noch |gleich )*",
        rf"\bich (?:kann (?=.*(?:n|übernehmen)\b)(?:auch |dann |gerne? )*|(?={_DE_VERBS}\b))",
        rf"(?:^|[^\w\s-] |\b(?:und|aber|dann|also|gut) )(?=(?:[\w-]+ ){{0,6}}?{_DE_VERBS} ich\b)",
        r"\blass(?:t|en sie)? mich (?:mal |noch )?",
        r"\bich verspreche,? ",
        r"\bwir (?=(?:schicken|bringen|kümmern|rufen|senden|schreiben) )",
    ),
    duties=_any(
        r"\bich (?:muss|sollte) (?:noch |auch |mal |unbedingt )*(?=.*n\b)", r"\berinnere mich daran,? "
    ),
    idle=re.compile(
        r".*\b(?:nicht|kein\w*|nie|nichts|niemals|kaum)\b|(?:da sein|sehen|gehen|sagen|zugeben|los|weg)\b",
        re.IGNORECASE,
    ),
    others=_named(
        rf"(?:\b{_NAME}|\b{_KIN}) (?:wird|soll|muss|kümmert sich|übernimmt|will|hat versprochen) (?!.*\bnicht\b)(?!sein\b)"
    ),
    requests=_any(
        r"\b(?:kannst|könntest|würdest|magst|willst) du (?:bitte |auch |mir |uns |noch |mal )*",
        r"\b(?:können|könnten|würden) sie (?:bitte |auch |mir |uns |noch )*",
        r"(?:^|, )bitte (?=\w)",
    ),
    offers=_any(r"\bsoll ich (?:dir |euch |ihnen )?", r"\bkann ich (?:dir|euch|ihnen) "),
    agrees=re.compile(
        r"(?:oh |ach |hm,? |na )?(?:ja|jep|jo|klar|gern|gerne|sicher|natürlich|okay|ok|in ordnung|mach(?:e)? ich|das mache? ich|wird gemacht|alles klar|"
        r"kein problem|selbstverständlich|gut|super|perfekt|bitte|das wäre|versprochen|einverstanden|passt|ich kann|ich mache?)\b",
        re.IGNORECASE,
    ),
    declines=re.compile(
        r".{0,40}\b(?:nein|nee|leider|nicht|keine zeit|schon gemacht|schon erledigt)\b", re.IGNORECASE
    ),
    takes=re.compile(
        r"(?:das |dann )?(?:mache?|übernehme|erledige|kümmere|kläre?)(?: ich)?(?: mich)?(?: das| es| darum| gerne?| sofort| gleich| noch| heute| morgen| dann| selbst| nachmittag| abend| früh)*"
        r"|(?:das |es )?(?:übernehmen|machen|erledigen)|wird gemacht",
        re.IGNORECASE,
    ),
    points=re.compile(
        r"\w+ (?:ich )?(?:mit |zu )?(?:es|das|sie|ihn|ihm|ihr|die|diese|den|dem)"
        r"(?=\W*$| (?:ab|am|an|auch|auf|aus|bis|dann|dir|euch|fertig|gleich|gerne?|heute|ihnen|im|in|mit|morgen|nachher|noch|später|um|vor|vorbei|weg|zu|zurück)\b)",
        re.IGNORECASE,
    ),
    calls=re.compile(
        r"^(?:[\w ]{0,16}, )?(?:(?:und|aber|also|dann|gut|danke|okay),? )*(?:(?:wer|jemand|wir|man)(?: muss| müsste| müssen| sollte| sollten| soll| kann| könnte)? "
        r"|(?:kannst|könntest|würdest) du |(?:kann|könnte|muss) (?:jemand|wer) |bitte )*",
        re.IGNORECASE,
    ),
    unsure=re.compile(
        r"\b(?:würde|hätte|wäre|vielleicht|eventuell|wenn ich|sagte|meinte|hat gesagt|dachte)\b",
        re.IGNORECASE,
    ),
    breaks=re.compile(
        r"[;:–—]|,? (?:und|aber|denn|weil) (?=(?:ich|du|er|sie|wir|ihr|es|das)\b)|, (?=(?:ich|du|er|sie|wir|es|das|dann|da)\b)",
        re.IGNORECASE,
    ),
)

_YO: Final = (
    "aviso|arreglo|busco|cocino|compro|confirmo|consigo|corrijo|entrego|envío|escribo|hablo|hago|imprimo|invito|limpio|llamo|llevo|mando|miro|organizo|"
    "pago|paso|pido|pregunto|preparo|recojo|reservo|reviso|saco|subo|termino|traigo"
)
SPANISH: Final = LanguagePhrases(
    code="es",
    marks=_words("el la los las y que de en es un una no por para con yo te lo está qué muy voy"),
    promises=_any(
        r"(?<!no )(?<!no lo )\b(?:voy a|prometo|vamos a (?=enviar|llamar|comprar|mandar)|puedo) (?:también )?(?=\w+[aei]r)",
        r"\b(?:yo )?me (?:encargo|ocupo)(?: yo)?(?: de)? ?",
        r"(?<!no )(?=\b(?:(?:lo|la|los|las|te|le|les|os|se|me) ){0,2}(?!seré|estaré|tendré|podré|sabré|querré)\w+(?:aré|eré|iré|dré|bré)\b)",
        rf"(?<!no )(?=\b(?:(?:lo|la|los|las|te|le|les|os|se) ){{1,2}}(?:{_YO})\b)",
        rf"(?<!no )\byo (?=(?:(?:lo|la|los|las|te|le|les|os|se) )*(?:{_YO})\b)",
        rf"(?:^|[,.] |\b(?:y|pues|vale|bueno) )(?=(?:(?:hoy|mañana|luego|esta \w+|el \w+) )?(?:{_YO}) .*\b(?:hoy|mañana|luego|esta (?:noche|tarde|semana)|ahora|el (?:lunes|martes|miércoles|jueves|viernes|sábado|domingo))\b)",
        r"\b(?:déjame|déjeme) ",
    ),
    duties=_any(r"(?<!no )\b(?:tengo que|debo|necesito) (?=\w+[aei]r)"),
    idle=re.compile(r"(?:no|ser|estar|ver(?!ificar)|decir|irme|dormir|ir)\b", re.IGNORECASE),
    others=_named(
        rf"(?:\b{_NAME}|\b{_KIN}) (?:va a|tiene que|debe|se encarga de|se ocupa de|quedó en|prometió) "
    ),
    requests=_any(
        r"\b(?:puedes|podrías|puede|podría|quieres|te importa|te importaría) (?:también |por favor )*(?=\w+[aei]r)",
        r"(?:^|, )por favor,? ",
    ),
    offers=_any(r"\b(?:quieres que|te parece si|puedo) ", r"\b(?:lo|la|los|las|te|le) (?=\w+o yo)"),
    agrees=re.compile(
        r"(?:ah,? |pues |bueno,? )?(?:sí|si|claro|vale|por supuesto|de acuerdo|ok|okay|bueno|desde luego|sin problema|perfecto|genial|lo hago|hecho|"
        r"cuenta con|con gusto|encantad[oa]|yo me|ahora)\b",
        re.IGNORECASE,
    ),
    declines=re.compile(r".{0,30}\b(?:no|lo siento|imposible|ya lo)\b", re.IGNORECASE),
    takes=re.compile(
        r"(?:yo )?(?:lo|la|los|las)? ?(?:hago|haré|encargo|ocupo|hacerlo|eso|ello)?(?: yo)?(?: de eso| de ello)?(?: mañana| hoy| esta noche| esta tarde| luego| ahora| ya)*",
        re.IGNORECASE,
    ),
    points=re.compile(
        r"(?:te |se |os )?(?:lo|la|los|las|le|les) \w+|\w+[aei]r(?:me|te|se)?(?:lo|la|los|las|le|les)\b",
        re.IGNORECASE,
    ),
    calls=re.compile(
        r"^(?:[\w ]{0,16}, )?(?:(?:y|pero|bueno|vale|gracias|entonces),? )*(?:(?:alguien|quién|hay que|tenemos que|habría que)(?: puede| tiene que| debería| va a)? )*",
        re.IGNORECASE,
    ),
    unsure=re.compile(
        r"\b(?:si yo|quizás?|tal vez|a lo mejor|dijo|ojalá|\w+aría|podría|querría)\b", re.IGNORECASE
    ),
    breaks=re.compile(
        r"[;:–—]|,? (?:y|pero|porque|aunque) (?=(?:yo|tú|él|ella|nosotros|me|te|lo)\b)|, (?=(?:yo|tú|él|ella|está|es)\b)",
        re.IGNORECASE,
    ),
)

_JE: Final = (
    "achète|amène|appelle|apporte|commande|contacte|corrige|demande|dépose|emmène|envoie|imprime|installe|invite|loue|nettoie|organise|prépare|"
    "préviens|ramène|rappelle|récupère|redémarre|règle|répare|réserve|téléphone|transmets|vérifie"
)
FRENCH: Final = LanguagePhrases(
    code="fr",
    marks=_words(
        "le la les et est je tu il elle nous vous des une que qui pas pour dans avec c'est ce du oui"
    ),
    promises=_any(
        r"\bje (?:vais|peux|promets de|compte) (?:aussi |te |vous |lui |leur |le |la |les |l[’'])*(?!pas\b)(?=\w+(?:er|ir|re)\b)",
        r"\bje (?=(?:te |vous |lui |leur |le |la |les |l[’']|m[’']en )*\w+rai\b)",
        r"\bje m[’'](?:en )?occupe(?:rai)?(?: de| du| des)? ?",
        r"(?=\bj[’'](?:en |y )?\w+rai\b)",
        r"\bje m[’']en charge ?",
        r"\blaisse[z]?-moi ",
        rf"\bje (?=(?:te |vous |lui |le |la |les |l[’'])(?:{_JE}|prends|fais|passe|mets)\b)",
        rf"\bje (?=(?:{_JE})\b)|(?=\bj[’'](?:{_JE})\b)",
    ),
    duties=_any(r"\bje dois (?!pas\b)(?=\w+(?:er|ir|re)\b)", r"\bil faut que je "),
    idle=re.compile(r".*\bpas\b|(?:être|avoir|voir|dire|dormir|partir|aller)\b", re.IGNORECASE),
    others=_named(
        rf"(?:\b{_NAME}|\b{_KIN}) (?:va|doit|s[’']occupe de|s[’']occupe du|a promis de) (?!pas\b|être\b)"
    ),
    requests=_any(
        r"\b(?:tu peux|tu pourrais|vous pouvez|vous pourriez|peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|tu veux bien) (?:aussi |me |nous |lui |s[’']il te plaît )*"
    ),
    offers=_any(
        r"\b(?:tu veux que j[’']|tu veux que je |vous voulez que je |je (?:t[’']|vous |te )(?=\w+e ))"
    ),
    agrees=re.compile(
        r"(?:ah,? |bah |ben |bon,? )?(?:oui|ouais|d[’']accord|bien sûr|ok|okay|volontiers|pas de problème|pas de souci|ça marche|entendu|avec plaisir|"
        r"parfait|bien|super|je m[’']en|je le fais|c[’']est bon|merci)\b",
        re.IGNORECASE,
    ),
    declines=re.compile(r".{0,30}\b(?:non|désolée?|je ne|impossible|pas le temps|déjà)\b", re.IGNORECASE),
    takes=re.compile(
        r"(?:le |la |les |en )?(?:fais|ferai|faire|occupe|charge|ça)?(?: demain| ce soir| aujourd[’']hui| tout de suite| cet après-midi)*",
        re.IGNORECASE,
    ),
    points=re.compile(
        r"(?:j[’'])?(?:te |vous )?(?:le |la |les |l[’']|en |lui |leur |y )\w+|\w+ (?:le |la |les |l[’']|lui |leur )(?=\w+(?:er|ir|re)\b)",
        re.IGNORECASE,
    ),
    calls=re.compile(
        r"^(?:[\w ]{0,16}, )?(?:(?:et|mais|bon|alors|merci),? )*(?:(?:quelqu[’']un|qui|il faut|on|nous)(?: doit| peut| devrait| va)? )*",
        re.IGNORECASE,
    ),
    unsure=re.compile(r"\b(?:si je|peut-être|a dit|j[’']aimerais|je \w+rais)\b", re.IGNORECASE),
    breaks=re.compile(
        r"[;:–—]|,? (?:et|mais|parce que|car) (?=(?:je|j[’']|tu|il|elle|on|nous|vous)\b)|, (?=(?:je|j[’']|tu|il|elle|c[’']est)\b)",
        re.IGNORECASE,
    ),
)

LANGUAGES: Final = (ENGLISH, GERMAN, SPANISH, FRENCH)


def choose_language(language_code: str | None, words: frozenset[str]) -> LanguagePhrases:
    """Choose the language of a transcript, and return its phrases.

    Args:
        language_code: A language code, such as ``de-AT``; None if unknown.
        words: The words of the transcript. If the code is missing or not supported, the language with the
            most `marks` among these words is chosen.
    """
    code = (language_code or "").partition("-")[0].lower()
    named = next((language for language in LANGUAGES if language.code == code), None)
    return named or max(LANGUAGES, key=lambda language: len(language.marks & words))
