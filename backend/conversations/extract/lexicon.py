"""Words that tell what a conversation is about.

A line of words for each category and language: English, German, Spanish, French. A word that ends with ``*`` stands for
every word with that beginning. ``TELLING`` words hardly occur elsewhere and count twice.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from backend.conversations.categories import Category

if TYPE_CHECKING:
    from collections.abc import Mapping

TELLING: Final[Mapping[Category, str]] = MappingProxyType(
    {
        Category.WORK: (
            "stakeholder* standup stand-up sprint* kickoff milestone* deadline* deliverable* roadmap client* "
            "customer* candidate* applicant* interview* recruit* hiring hire salary proposal* colleague* coworker* "
            "sync weekly hr org-chart vendor* negotiat* campaign* payroll* handover pitch shipment* logistics promotion strategy intern onboarding office* quarter quarterly kpi* okr* agenda minutes workshop* "
            "kunde* kundin* angebot* besprechung* kolleg* bewerb* abteilung* chef* projekt* liefertermin* protokoll "
            "client* reunión reuniones proyecto* jefe jefa oficina colega* plazo* entrevista* "
            "réunion* projet* collègue* bureau entretien* délai* chef* "
        ),
        Category.TECHNOLOGY: (
            "software server* database* api apis bug bugs code coding deploy* hotfix commit* repo repository backend "
            "frontend app apps laptop* computer* wifi router* firmware driver* encoder library cloud cache android "
            "iphone ios linux windows python javascript kubernetes docker algorithm* password* cyber* hack* encrypt* "
            "builds compile* container* linter config* latency endpoint* script* query queries outage* vpn firewall bluetooth printer* keyboard* charger* merge backup* pixel* website* browser* reboot reinstall* sensor* robot* chatbot* gpu cpu debug* "
            "datenbank* rechner* programmier* passwort* passwörter netzwerk* fehlermeldung* quellcode update* "
            "servidor* ordenador* programador* contraseña* aplicación aplicaciones código actualiza* "
            "serveur* ordinateur* logiciel* programm* réseau mot-de-passe "
        ),
        Category.FINANCE: (
            "mortgage* loan* interest-rate savings investment* invest investing investor* pension* tax taxes invoice* "
            "dividend* stock stocks shares portfolio* budget* debt* bank banks banking landlord deductible accountant* "
            "revenue* profit* cash runway forecast* payslip* slips retirement broker* crypto bitcoin expenses afford tax-credit rent overdraft credit etf etfs refinanc* inflation statements "
            "hypothek* kredit* zinsen zinssatz steuer* rechnung* miete konto konten sparbuch* aktie* schulden bank "
            "hipoteca* préstamo* impuesto* factura* ahorro* alquiler banco* deuda* acciones "
            "hypothèque* crédit impôt* facture* loyer banque* épargne dette* "
        ),
        Category.EDUCATION: (
            "exam exams examination* lecture* lecturer* professor* prof homework thesis dissertation semester* seminar* "
            "tutor* teacher* pupil* student* university universities college school* classroom grade grades essay* "
            "midterm* syllabus spelling vocabulary grammar tuition math physics chemistry degree phd college* enrol* flash curriculum scholarship* kindergarten-teacher maths algebra calculus quiz exercises campus lesson* "
            "prüfung* klausur* vorlesung* hausaufgabe* schule* schüler* lehrer* uni universität* studium seminararbeit "
            "examen exámenes profesor* deberes universidad* colegio* clase* alumn* asignatura* "
            "devoirs professeur* école* lycée université* étudiant* cours "
        ),
        Category.PERSONAL: (
            "lonely loneliness diary journal habit* feelings myself mindful* hobby hobbies heartbroken guilty meditat* grateful "
            "gratitude self-esteem resolution* overwhelmed anxious sad unhappy burnout lately purpose confidence ashamed "
            "einsam* tagebuch gewohnheit* traurig gefühle allein selbstzweifel "
            "diario sentimientos triste soledad hábito* agobiad* "
            "journal sentiment* triste solitude habitude* "
        ),
        Category.FAMILY: (
            "grandma grandpa granny grandmother* grandfather* grandparents grandchild* grandson granddaughter* cousin* "
            "uncle* aunt aunts auntie nephew* niece* sibling* sister* brother* twins kids daughter* son sons mum mom "
            "mummy mommy dad daddy baby babies toddler* in-laws mother-in-law kindergarten nursery family families "
            "oma opa großeltern enkel* tante* onkel cousine* schwester* bruder brüder tochter töchter familie* geschwister "
            "mama papa schwiegermutter "
            "abuel* primo* prima* tío* tía* hermano* hermana* hija hijo hijos familia* mamá papá sobrin* "
            "mamie papi grand-mère grand-père grands-parents cousin* oncle* tante* sœur* frère* fille fils famille* maman "
        ),
        Category.HEALTH: (
            "doctor* dr nurse* hospital* clinic* patient* symptom* pain pains painkiller* headache* toothache migraine* "
            "fever prescription* medicine* medication* dose dentist* dental surgery surgeon physio* therapy x-ray mri "
            "blood allergic allerg* vitamin* diet diagnos* vaccine* vaccination* diabetes asthma cholesterol cough* "
            "tablets pills dizz* gp tendon* inflam* ultrasound nausea virus flu infection* muscle* shoulder* wrist yoga protein insulin swelling swollen antibiotic* workout* calories knee ankle "
            "arzt* ärztin* schmerz* fieber tablette* apotheke* rezept krankenhaus* grippe impfung* zahnarzt* husten "
            "médic* dolor* fiebre hospital* receta farmacia* pastilla* gripe vacuna* enfermer* dentista* "
            "médecin* douleur* fièvre hôpital* ordonnance* pharmacie* médicament* grippe vaccin* dentiste* "
        ),
        Category.TRAVEL: (
            "flight* airport* airline* hotel* hostel* passport* visa luggage suitcase* itinerary boarding ferry "
            "plane planes guesthouse* rail check-in tourist* landed timezone packing campsite* camping backpack* sightseeing beach* museum-pass airbnb trip trips journey* travel* "
            "holiday holidays vacation* embassy cruise* abroad layover jetlag roadtrip resort* "
            "flug flüge flughafen koffer reisepass reise* urlaub* hotel* ferienwohnung* bahnticket* unterkunft strand "
            "vuelo* aeropuerto* hotel* maleta* pasaporte* viaje* vacaciones playa* tren "
            "vol vols aéroport* hôtel* valise* passeport* voyage* vacances plage* train "
        ),
        Category.SHOPPING: (
            "discount* sale receipt* refund* warranty supermarket* store stores shop shops shopping mall cart checkout "
            "registry in-stock exchange amazon ebay wrapping size sizes bargain* coupon* grocery groceries brand brands delivery buy buying bought purchase* cheaper warehouse "
            "furniture sofa shoes jacket* "
            "laden läden supermarkt* einkauf* kaufen gekauft rabatt* quittung* umtausch* garantie schuhe angebote "
            "tienda* supermercado* descuento* compra* comprar recibo* zapatos rebajas oferta* "
            "magasin* supermarché* achat* acheter soldes remise* chaussures ticket-de-caisse "
        ),
        Category.SOCIAL: (
            "party parties barbecue bbq reunion* hang hangout neighbour* neighbor* gossip friends buddies buddy mates "
            "drinks beers pub wedding* housewarming guests host hosts potluck picnic karaoke rsvp hosting toast gang get-together catch-up brunch "
            "feier feiern grillen freunde freundin freunden nachbar* gäste kneipe bier hochzeit* treffen "
            "fiesta* amigo* amiga* vecin* invitad* boda* cerveza* quedada barbacoa "
            "fête* ami amis amie amies voisin* invités mariage* bière* apéro soirée "
        ),
        Category.ENTERTAINMENT: (
            "movie* film films cinema* actor* actress* director episode* season series netflix trailer* concert* album* "
            "song songs band bands playlist* novel* author* game games gamer* gaming match referee goal score stadium "
            "soundtrack* oscar streaming streams villain binge sequel* trilogy gig gigs lyrics drama cast popcorn theatre theater musical* podcast* comedy thriller* plot spoiler* tournament guitar festival* "
            "kino schauspieler* staffel* serie serien folge konzert* lied lieder roman* spiel spiele tor stadion fußball* "
            "película* cine serie series actor* actriz concierto* canción canciones novela* juego* partido* fútbol "
            "cinéma série* acteur* actrice* concert* chanson* roman* jeu jeux match* "
        ),
    }
)

HINTS: Final[Mapping[Category, str]] = MappingProxyType(
    {
        Category.WORK: (
            "project* meeting* team* report* slides presentation* board manager* boss department* schedule contract* "
            "sales marketing launch* ship release* review* feedback draft budget job jobs staff business company "
            "supplier* vendor* partner* support conference* email* plan test* figures "
            "arbeit team bericht* präsentation* vertrag verträge zahlen freigabe termin "
            "trabajo equipo informe* presentación contrato* cliente* empresa travail équipe rapport* contrat* entreprise "
        ),
        Category.TECHNOLOGY: (
            "data crash* update* version* install* backup* network* device* monitoring settings user users upload* "
            "download* memory disk logs phone* website* login link manual* model models ai battery screen tech pipeline "
            "internet pipeline tests dark settings brightness daten gerät* handy speicher installier* version* datos móvil red instalar données téléphone* "
        ),
        Category.FINANCE: (
            "pay paid payment* money euro euros dollar* pound* fee fees account* fund funds interest deposit insurance "
            "cost costs expense* percent figures income save bill bills monthly subscription* standing transfer* cash "
            "geld zahlen bezahl* gebühr* überweis* kosten dinero pagar pago* cuenta* gasto* argent payer compte* frais "
        ),
        Category.EDUCATION: (
            "study studied studying learn learning learnt course* class classes chapter* library test tests notes "
            "textbook* book books practise practice teach page scale article* science history sources definition* register "
            "lernen kurs* klasse kapitel buch bücher lernst estudi* aprender curso* libro* nota notas "
            "étudier apprendre chapitre* livre* "
        ),
        Category.PERSONAL: (
            "feel feeling feels felt tired dream dreams alone goal goals path head apologise apologize unfair memo grown-up proud wake comparing therapist* mind scared afraid worried worry stress* cry crying "
            "change life love happy honest honestly proud mood thoughts patient wish routine "
            "fühle gefühl müde angst leben träume glücklich siento miedo sueño vida feliz peur vie rêve heureux "
        ),
        Category.FAMILY: (
            "mother* father* parents parent husband wife child children birthday christmas easter darling "
            "celebrat* relatives home mutter vater eltern kind kinder geburtstag* weihnachten "
            "madre padre padres niño* niña* cumpleaños navidad mère père parents enfant* anniversaire noël "
        ),
        Category.HEALTH: (
            "sick ill hurt stretches arm leg ice therapist* side-effect gym steps lift test results  hurts sleep exercise* training injury weight appointment* pressure tooth teeth back stomach "
            "shoulder insurance-card healthy health kilos coffee smoke smoking rest heart running "
            "krank gesund* weh schlaf rücken schulter zahn enfermo salud espalda cita malade santé dos rendez-vous "
        ),
        Category.TRAVEL: (
            "ticket* bag bags pack miles pass abroad book booking train trains bus map drive tour tours guide city station border night nights weather "
            "van rental gate delayed connection "
            "zug züge fahren buchen karte billete* estación ciudad restaurante billet* gare ville "
        ),
        Category.SHOPPING: (
            "price prices cheap expensive order ordered online return returned size sizes colour color reviews pay blue "
            "need quality gift gifts exchange medium large stock zip coat delivered card cost costs "
            "preis* teuer günstig* bestell* zurückgeben größe precio* barato caro pedir talla prix cher commander taille "
        ),
        Category.SOCIAL: (
            "friend invite invited inviting invitation* dinner wine dance dancing fun evening tonight meet "
            "meeting-up chat club birthday-party saturday together salad beer "
            "freund einlad* eingeladen abendessen wein spaß zusammen amistad invitar cena vino juntos "
            "inviter dîner vin ensemble "
        ),
        Category.ENTERTAINMENT: (
            "watch watched watching play played playing music show shows story ending tickets stage scene character* "
            "artist* book books read reading tv video videos team team's dance art museum "
            "musik schauen geschaut spielen música ver jugar musique regarder jouer "
        ),
    }
)
