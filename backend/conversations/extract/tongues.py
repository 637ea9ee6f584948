"""How people promise, ask and agree, language by language.

Each pattern is matched against a sentence without regard to case. ``(?P<who>)`` is a name, and what follows the
match is what somebody will do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NEVER: Final = r"(?!)"


@dataclass(frozen=True)
class Tongue:
    """The ways of one language.

    Attributes:
        marks: Small words that give the language away.
        promises: Before what the speaker will do.
        duties: The same, of what they have to do.
        idle: What a promise is not about: states, opinions, refusals.
        others: Before what somebody who is named will do.
        requests: Before what another one is asked to do.
        offers: Before what the speaker offers to do, as a question.
        agrees: How an answer begins that says yes.
        declines: How one begins that says no.
        takes: An answer, or what follows a promise, that takes on what was just spoken of.
        calls: What leads to a task that nobody has yet: cut off.
        unsure: What makes of a sentence a mere thought.
        breaks: Where another thought begins.
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
    calls: re.Pattern[str]
    unsure: re.Pattern[str]
    breaks: re.Pattern[str]


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns) or _NEVER, re.IGNORECASE)


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


def _named(pattern: str) -> re.Pattern[str]:
    """For names, which are told by their capitals."""
    return re.compile(pattern)


_NAME: Final = r"(?P<who>(?:(?:Mr|Mrs|Ms|Dr|Prof|Herr|Frau|Señor|Señora|Monsieur|Madame)\.? )?[^\W\d_a-zß-öø-ÿ][\w’-]*(?: [^\W\d_a-zß-öø-ÿ][\w-]+)?)"
_KIN: Final = (
    r"(?:[Mm]y|[Oo]ur|[Tt]he|[Yy]our|[Mm]ein|[Mm]eine|[Uu]nser|[Uu]nsere|[Mm]i|[Mm]on|[Mm]a) "
    r"(?P<kin>assistant|wife|husband|partner|brother|sister|mother|mom|mum|father|dad|son|daughter|boss|manager|colleague|"
    r"secretary|accountant|lawyer|teacher|doctor|nurse|intern|roommate|neighbour|neighbor|friend|aunt|uncle|grandma|grandpa|"
    r"Frau|Mann|Bruder|Schwester|Mutter|Vater|Chef|Chefin|Kollege|Kollegin|mujer|marido|hermano|hermana|jefe|jefa|"
    r"femme|mari|frère|sœur|chef)"
)
_EASY: Final = r"(?:(?:also|just|then|definitely|certainly|gladly|happily|quickly|personally|probably|go ahead and|try to|try and|make sure to|be sure to|be happy to|be glad to) )*"

ENGLISH: Final = Tongue(
    code="en",
    marks=_words("the and is are was you i it that of to in we have i'll don't what for with my"),
    promises=_any(
        rf"\bI(?:[’']ll| will| shall|[’']m (?:also |just |still )?going to| am (?:also |just |still )?going to|[’']m gonna|[’']m about to)(?![’'\w]) ?{_EASY}",
        rf"\bI (?:promise|agree|volunteer|offer|plan|intend) to {_EASY}",
        r"\bI promise (?:that )?I[’']ll ",
        rf"\bI(?:[’']m| am|[’']d be| would be) (?:happy|glad) to {_EASY}",
        rf"\bI can(?![’'\w]) ?{_EASY}",
        r"\blet me (?=\w)(?!note|see|think|know|explain|tell|guess|put it|be\b|start|finish)",
        r"\bI(?:[’']m| am) (?:responsible for|in charge of|taking care of|taking on) ",
        r"\bI(?:[’']m| am) (?=(?!going|working|watching|thinking|feeling|looking|waiting|coming|staying|meeting|getting|having|trying"
        r"|leaving|doing|not|seeing|sitting|living|starting|flying|running|eating)\w+ing\b.*\b(?:now|today|tonight|tomorrow|later|soon|"
        r"this|next|on|by|right)\b)",
        r"(?<=\btoday )I(?:[’']m| am) (?=\w+ing\b)",
        rf"\bwe(?:[’']ll| will|[’']re going to| are going to)(?![’'\w]) {_EASY}(?=(?:put|send|bring|buy|book|call|email|write|order|"
        r"pick|prepare|organi[sz]e|fix|publish|post|share|cook|make|invite|pay|check|ship|deliver|arrange|let you know)\b)",
    ),
    duties=_any(
        rf"\bI(?: need to| have to| must|[’']ve got to| have got to| got to| gotta| should| ought to)(?![’'\w]) (?:really )?{_EASY}",
        r"\b(?:remind me|note to self:?|remember) to ",
    ),
    idle=re.compile(
        r"(?:not|never|always|be|been|have (?:been|a|an|to|the|had)|see|hear|imagine|understand|feel|think|know|remember|believe|say|admit|"
        r"bet|guess|miss|live|wait|die|love|like|hate|regret|need|want|tell you (?:what|something|that)|tell (?:that|the difference)|"
        r"get (?:it|you|there|used|old)|stop|lose|win|survive|manage|cope|only|hardly|barely|reproduce|confess|afford|stand|forget|"
        r"forgive|quit|give up|watch (?:anything|it)|explain why|ask you|ask,|me\b)\b(?! (?:an? )?note|ing)"
        r"|(?:go|leave|run|work|hurry|sleep|stay|start|finish|eat|sit|come)(?: (?:now|soon|then|home|early|late|away|out|to (?:work|bed|sleep|school)|"
        r"there|back|until .*|in .*))?\W*$",
        re.IGNORECASE,
    ),
    others=_named(
        rf"(?:\b{_NAME}|\b{_KIN})(?: said (?:he|she|they)(?:[’']ll| will)| promised to| agreed to| offered to| will|[’']ll|"
        r" is going to|[’']s going to| has to| needs to| should| can| is supposed to)(?![’'\w]) (?:also |then |just )*"
        r"(?!be\b|have\b|not\b|never\b|need\b|cost\b|start\b|take\b|arrive\b|come\b|happen\b|want\b|know\b|see\b|feel\b|like\b|love\b)"
    ),
    requests=_any(
        r"\b(?:can|could|would|will|won[’']t) you\b ?+(?:please |also |maybe |perhaps |kindly |be so kind (?:as|and) (?:to )?)*"
        r"(?!tell me (?:how|what|why|where)|hear|see|believe|imagine|remember|like|be\b|have\b|say|explain|recommend|mind)",
        r"\bwould you mind |\bwhy don[’']t you ",
        r"\byou(?:[’']ll| will|[’']re going to| are going to) (?=[^?]+, (?:right|okay|ok|yes|correct|alright)\?)",
        r"\b(?:can|could) (?:I|we) ask you to ",
        r"\b(?:do you want|would you like|are you able) to (?=(?:take|handle|own|do|write|prepare|send|organi[sz]e|call)\b)",
        r"\bI(?:[’']d like| need| want) you to ",
        r"(?:^|[,;] |\band |\bthen )please (?!do\b|don[’']t|note|God|,)(?=\w)",
        r"\byou (?:should|need to|have to|must) (?=(?:send|call|write|ask|talk|check|fill|sign|bring|book)\b)",
    ),
    offers=_any(
        rf"\b(?:shall|should) I {_EASY}(?!be\b|keep|stop|start|worry|go\b|move|stay|do\b)",
        rf"\b(?:can|could|may) I {_EASY}(?=[^?]*\b(?:you|them|him|her|everyone|everybody)\b)(?!ask|see|have|get|talk|speak)",
        r"\b(?:do you )?want me to |\bwould you like me to ",
    ),
    agrees=re.compile(
        r"(?:oh |ah |hm,? |well,? |um,? )?(?:yes|yeah|yep|yup|sure|of course|okay|ok|absolutely|certainly|definitely|no problem|gladly|"
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
    calls=re.compile(
        r"^(?:[\w ]{0,16}[,:] )?(?:(?:and|but|so|then|also|okay|ok|well|good|great|now|thanks|thank you|fine),? )*(?:(?:somebody|someone|anybody|anyone|who|we|one of us)"
        r"(?:[’']ll| will| can| could| has to| have to| needs to| need to| should| must| still need to| still have to| wants to| is going to|[’']s going to)? "
        r"|(?:can|could|will|would|should) (?:somebody|someone|anybody|anyone|one of you|one of us|you|we) |(?:please|let[’']s|i think|there[’']s|there is) )*",
        re.IGNORECASE,
    ),
    unsure=re.compile(
        r"\b(?:if i (?:ever|were|was|had|win|won|could)|i[’']d rather|maybe i|perhaps i|i wish|i might|i may|one day|someday|in another life|"
        r"i (?:keep|kept) saying|(?:you|he|she|they) (?:said|told me|asked me|thought|claimed)|i (?:said|thought|told (?:him|her|them|you)|swore|hoped|wonder)|unless i|supposed i|i don[’']t think)\b",
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
GERMAN: Final = Tongue(
    code="de",
    marks=_words("der die das und ist ich du wir nicht ein eine zu mit auf für es den habe wird kann ja"),
    promises=_any(
        r"\bich werde (?:auch |dann |noch |gleich )*",
        rf"\bich (?:kann (?=.*(?:n|übernehmen)\b)(?:auch |dann |gerne? )*|(?={_DE_VERBS}\b))",
        rf"(?=\b{_DE_VERBS} ich\b)",
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

SPANISH: Final = Tongue(
    code="es",
    marks=_words("el la los las y que de en es un una no por para con yo te lo está qué muy voy"),
    promises=_any(
        r"(?<!no )(?<!no lo )\b(?:voy a|prometo|vamos a (?=enviar|llamar|comprar|mandar)|puedo) (?:también )?(?=\w+[aei]r)",
        r"\b(?:yo )?me (?:encargo|ocupo)(?: yo)?(?: de)? ?",
        r"(?<!no )(?=\b(?:(?:lo|la|los|las|te|le|les|os|se|me) ){0,2}(?!seré|estaré|tendré|podré|sabré|querré)\w+(?:aré|eré|iré|dré|bré)\b)",
        r"(?<!no )(?=\b(?:(?:lo|la|los|las|te|le|les|os|se) ){1,2}(?:hago|llevo|mando|envío|compro|traigo|paso|preparo|reservo|busco|miro|llamo|escribo|pido)\b)",
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

FRENCH: Final = Tongue(
    code="fr",
    marks=_words(
        "le la les et est je tu il elle nous vous des une que qui pas pour dans avec c'est ce du oui"
    ),
    promises=_any(
        r"\bje (?:vais|peux|promets de|compte) (?:aussi |te |vous |lui |leur |le |la |les |l[’'])*(?!pas\b)(?=\w+(?:er|ir|re)\b)",
        r"\bje (?=(?:te |vous |lui |leur |le |la |les |l[’']|m[’']en )*\w+rai\b)",
        r"\bje m[’'](?:en )?occupe(?:rai)?(?: de| du| des)? ?",
        r"\bj[’'](?=(?:en |y )?\w+rai\b)",
        r"\bje m[’']en charge ?",
        r"\blaisse[z]?-moi ",
        r"\bje (?=(?:te |vous |lui |le |la |les |l[’'])(?:envoie|appelle|apporte|achète|réserve|prépare|prends|fais|passe)\b)",
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

TONGUES: Final = (ENGLISH, GERMAN, SPANISH, FRENCH)


def tongue_of(language: str | None, words: frozenset[str]) -> Tongue:
    """The language that was told; else the one that most marks are of. English where it is none of ours."""
    code = (language or "").partition("-")[0].lower()
    told = next((tongue for tongue in TONGUES if tongue.code == code), None)
    return told or max(TONGUES, key=lambda tongue: len(tongue.marks & words))
