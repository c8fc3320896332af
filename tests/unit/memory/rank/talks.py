"""A small conversation, made up for these tests, with questions and the lines that answer them."""

from __future__ import annotations

LOG: dict[str, list[tuple[str, str]]] = {
    "2026-03-02": [
        ("owner", "Morning! The boiler in the cellar makes a knocking noise again."),
        ("stead", "Shall I look for somebody who repairs it?"),
        ("owner", "Yes please, but nobody from the company that came in autumn."),
        ("stead", "I found Brandt & Sons, they could come on Thursday."),
        ("owner", "Good, take them."),
        ("owner", "How is the weather going to be?"),
        ("stead", "Dry, up to nine degrees."),
        ("owner", "Then I will cut the hedge after lunch."),
        ("stead", "Nesting season began yesterday, only light trimming is allowed."),
        ("owner", "Ah right, I will leave it for October then."),
    ],
    "2026-03-14": [
        ("owner", "Heute haben wir mit Jonas über die Küche gesprochen."),
        ("stead", "Was habt ihr beschlossen?"),
        ("owner", "Die Arbeitsplatte wird aus Eiche, die Fronten bleiben weiß."),
        ("stead", "Soll ich das Angebot der Schreinerei anfordern?"),
        ("owner", "Ja, aber erst wenn die Größe feststeht."),
        ("stead", "Welche Länge hat die Wand am Fenster?"),
        ("owner", "Drei Meter vierzig, ich messe morgen noch einmal nach."),
        ("owner", "Übrigens ist Mia am Knie operiert worden, sie liegt noch in der Klinik."),
        ("stead", "Gute Besserung! Soll ich Blumen bestellen?"),
        ("owner", "Tulpen, die mag sie am liebsten."),
    ],
    "2026-05-20": [
        ("owner", "We looked at two flats for my daughter near the university."),
        ("stead", "Which one did she prefer?"),
        ("owner", "The one on the third floor, because of the balcony and the quiet yard."),
        ("stead", "What would the rent be?"),
        ("owner", "Six hundred and forty, heating included."),
        ("owner", "The printer refuses to print since the last update."),
        ("stead", "Its driver was replaced; the former version is 4.2."),
        ("owner", "Put the former one back, and tell it not to update by itself."),
        ("stead", "Done. A test page came out."),
        ("owner", "Wonderful, thank you, you are a treasure."),
    ],
    "2026-10-11": [
        ("owner", "The hedge is cut at last, three bags of it."),
        ("stead", "Shall I book the recycling yard?"),
        ("owner", "Saturday at ten."),
        ("owner", "Wir waren gestern bei Mia, sie läuft wieder ohne Krücken."),
        ("stead", "Das freut mich. Wann beginnt ihre Reha?"),
        ("owner", "Am neunzehnten, in Bad Aibling, für drei Wochen."),
        ("owner", "My sister's train arrives at a quarter past six on Friday."),
        ("stead", "From where does she come?"),
        ("owner", "From Lyon, with a change in Strasbourg."),
        ("owner", "The boiler is fine, by the way, no noise since spring."),
    ],
}
"""Day -> who said what."""

QUESTIONS: list[tuple[str, set[tuple[str, int]]]] = [
    ("Who was to repair the boiler?", {("2026-03-02", 3)}),
    ("What did I say about the knocking of the boiler in March?", {("2026-03-02", 0)}),
    ("When did I want to trim the hedges?", {("2026-03-02", 9), ("2026-03-02", 7)}),
    ("Woraus wird die Arbeitsplatte der Küche?", {("2026-03-14", 2)}),
    ("Wie groß ist die Wand neben dem Fenster?", {("2026-03-14", 6)}),
    ("Welche Blumen mag Mia?", {("2026-03-14", 9)}),
    ("Was wurde bei Mia operiert?", {("2026-03-14", 7)}),
    ("What rent for the flat my daughter preferred?", {("2026-05-20", 4)}),
    ("Which flat did my daughter prefer, and why?", {("2026-05-20", 2)}),
    ("What was wrong with the prnter?", {("2026-05-20", 5)}),
    ("Which printer driver version worked?", {("2026-05-20", 6)}),
    ("Wann fängt Mias Reha an?", {("2026-10-11", 5)}),
    ("Wie geht es Mia nach der Operation, kann sie laufen?", {("2026-10-11", 3)}),
    ("Where does my sister's train come from?", {("2026-10-11", 8)}),
    ("What was said about the boiler in October?", {("2026-10-11", 9)}),
    ("When is the recycling yard booked for the hedge?", {("2026-10-11", 2)}),
]
"""Question -> the lines (day, number) that answer it."""
