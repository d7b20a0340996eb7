//! Digital subscriptions: services, plans, billing periods.

use super::{Said, said};

pub struct Service {
    pub code: &'static str,
    pub name: &'static str,
    pub category: &'static str,
    pub noun: Said,
    /// Smallest plan per month, in cents of a euro.
    pub cents: u32,
    pub about: Said,
}

pub const SERVICES: &[Service] = &[
    Service {
        code: "KLANGHOF",
        name: "Klanghof",
        category: "digital/music",
        noun: said("Music Streaming", "Musik-Streaming", "Musique en continu"),
        cents: 990,
        about: said(
            "Forty million recordings without loss, and half of the price goes to those who made them.",
            "Vierzig Millionen Aufnahmen ohne Verlust, und die Hälfte des Preises geht an die, die sie gemacht haben.",
            "Quarante millions d'enregistrements sans perte, et la moitié du prix va à ceux qui les ont faits.",
        ),
    },
    Service {
        code: "LESESAAL",
        name: "Lesesaal",
        category: "digital/books",
        noun: said("E-Book Library", "E-Book-Bibliothek", "Bibliothèque numérique"),
        cents: 890,
        about: said(
            "A library in your pocket: borrow ten books at a time, read them offline, keep your notes.",
            "Eine Bibliothek in der Tasche: zehn Bücher gleichzeitig leihen, offline lesen, Notizen behalten.",
            "Une bibliothèque dans la poche : dix livres à la fois, lus hors ligne, vos notes conservées.",
        ),
    },
    Service {
        code: "HOERBAR",
        name: "Hörbar",
        category: "digital/books",
        noun: said("Audiobooks", "Hörbücher", "Livres audio"),
        cents: 1090,
        about: said(
            "Unabridged, read by people, with a timer that notices when you fall asleep.",
            "Ungekürzt, von Menschen gelesen, mit einem Timer, der merkt, wenn Sie einschlafen.",
            "Intégraux, lus par des humains, avec une minuterie qui remarque que vous dormez.",
        ),
    },
    Service {
        code: "CINEMOLE",
        name: "Cinemole",
        category: "digital/film",
        noun: said("Film Club", "Filmclub", "Ciné-club"),
        cents: 790,
        about: said(
            "One film a day, chosen by somebody who loves it, with an introduction worth reading.",
            "Ein Film am Tag, ausgewählt von jemandem, der ihn liebt, mit einer Einführung, die sich lohnt.",
            "Un film par jour, choisi par quelqu'un qui l'aime, avec une introduction qui vaut la lecture.",
        ),
    },
    Service {
        code: "TRESORA",
        name: "Tresora",
        category: "digital/security",
        noun: said("Password Vault", "Passwort-Tresor", "Coffre à mots de passe"),
        cents: 290,
        about: said(
            "Only you can open it; we could not, even if we were asked to.",
            "Nur Sie können ihn öffnen; wir könnten es nicht, selbst wenn man uns bäte.",
            "Vous seul pouvez l'ouvrir ; nous n'y arriverions pas, même si on nous le demandait.",
        ),
    },
    Service {
        code: "TUNNELO",
        name: "Tunnelo",
        category: "digital/security",
        noun: said("VPN", "VPN", "VPN"),
        cents: 490,
        about: said(
            "A private road through public networks, without records of who drove on it.",
            "Eine eigene Straße durch öffentliche Netze, ohne Buch darüber, wer auf ihr fuhr.",
            "Une route privée à travers les réseaux publics, sans registre de qui l'a prise.",
        ),
    },
    Service {
        code: "WOLKENFACH",
        name: "Wolkenfach",
        category: "digital/storage",
        noun: said("Cloud Storage", "Cloud-Speicher", "Stockage en ligne"),
        cents: 390,
        about: said(
            "Space for photos and papers, encrypted before they leave your device.",
            "Platz für Fotos und Papiere, verschlüsselt, bevor sie Ihr Gerät verlassen.",
            "De la place pour photos et papiers, chiffrés avant de quitter votre appareil.",
        ),
    },
    Service {
        code: "RUECKHALT",
        name: "Rückhalt",
        category: "digital/storage",
        noun: said("Computer Backup", "Computer-Sicherung", "Sauvegarde d'ordinateur"),
        cents: 590,
        about: said(
            "Backs up every hour, and shows you once a month that it could be restored.",
            "Sichert jede Stunde und zeigt Ihnen einmal im Monat, dass sich alles wiederherstellen ließe.",
            "Sauvegarde chaque heure et vous prouve une fois par mois que tout peut être restauré.",
        ),
    },
    Service {
        code: "SPRACHWEG",
        name: "Sprachweg",
        category: "digital/learning",
        noun: said("Language Course", "Sprachkurs", "Cours de langue"),
        cents: 1290,
        about: said(
            "Ten minutes a day with a teacher's voice; after a year you can argue politely.",
            "Zehn Minuten am Tag mit der Stimme einer Lehrerin; nach einem Jahr können Sie höflich streiten.",
            "Dix minutes par jour avec la voix d'un professeur ; au bout d'un an, vous saurez débattre poliment.",
        ),
    },
    Service {
        code: "ZAHLENREICH",
        name: "Zahlenreich",
        category: "digital/learning",
        noun: said("Maths Tutor", "Mathe-Tutor", "Tuteur de maths"),
        cents: 990,
        about: said(
            "Explains the step that you are stuck at, and not the one after it.",
            "Erklärt den Schritt, an dem Sie hängen, und nicht den danach.",
            "Explique l'étape où vous bloquez, et non la suivante.",
        ),
    },
    Service {
        code: "KUECHENBUCH",
        name: "Küchenbuch",
        category: "digital/living",
        noun: said("Recipe Planner", "Rezeptplaner", "Planificateur de recettes"),
        cents: 390,
        about: said(
            "Plans the week around what is left in the kitchen and writes the shopping list.",
            "Plant die Woche um das herum, was in der Küche noch da ist, und schreibt die Einkaufsliste.",
            "Prévoit la semaine avec ce qui reste en cuisine et écrit la liste des courses.",
        ),
    },
    Service {
        code: "LAUFPLAN",
        name: "Laufplan",
        category: "digital/living",
        noun: said("Training Plan", "Trainingsplan", "Plan d'entraînement"),
        cents: 690,
        about: said(
            "Adjusts to bad nights and good legs, and never shouts.",
            "Richtet sich nach schlechten Nächten und guten Beinen und brüllt nie.",
            "S'adapte aux mauvaises nuits et aux bonnes jambes, et ne crie jamais.",
        ),
    },
    Service {
        code: "FOTOWERK",
        name: "Fotowerk",
        category: "digital/creative",
        noun: said("Photo Editor", "Fotobearbeitung", "Retouche photo"),
        cents: 1190,
        about: said(
            "Develops raw files, keeps every version, and opens in a second.",
            "Entwickelt Rohdateien, behält jede Fassung und öffnet sich in einer Sekunde.",
            "Développe les fichiers bruts, garde chaque version et s'ouvre en une seconde.",
        ),
    },
    Service {
        code: "SCHNITTRAUM",
        name: "Schnittraum",
        category: "digital/creative",
        noun: said("Video Editor", "Videoschnitt", "Montage vidéo"),
        cents: 1590,
        about: said(
            "Cuts by the transcript: delete the sentence, and the picture follows.",
            "Schneidet nach dem Wortlaut: Satz löschen, und das Bild folgt.",
            "Monte d'après le texte : effacez la phrase, l'image suit.",
        ),
    },
    Service {
        code: "NOTENPULT",
        name: "Notenpult",
        category: "digital/creative",
        noun: said("Sheet Music", "Notenarchiv", "Partitions"),
        cents: 790,
        about: said(
            "A hundred thousand scores that turn their pages while you play.",
            "Hunderttausend Partituren, die umblättern, während Sie spielen.",
            "Cent mille partitions qui tournent leurs pages pendant que vous jouez.",
        ),
    },
];

pub struct Plan {
    pub code: &'static str,
    pub name: Said,
    /// Hundredths of the smallest plan.
    pub factor: u32,
    pub seats: u32,
    pub about: Said,
}

pub const PLANS: &[Plan] = &[
    Plan {
        code: "SOLO",
        name: said("Solo", "Solo", "Solo"),
        factor: 100,
        seats: 1,
        about: said(
            "For one person on all their devices.",
            "Für eine Person auf all ihren Geräten.",
            "Pour une personne sur tous ses appareils.",
        ),
    },
    Plan {
        code: "FAMILY",
        name: said("Family", "Familie", "Famille"),
        factor: 165,
        seats: 6,
        about: said(
            "For up to six people, each with a space of their own.",
            "Für bis zu sechs Personen, jede mit eigenem Bereich.",
            "Pour six personnes au plus, chacune avec son propre espace.",
        ),
    },
    Plan {
        code: "STUDIO",
        name: said("Studio", "Studio", "Studio"),
        factor: 320,
        seats: 20,
        about: said(
            "For small teams, with invoices and roles.",
            "Für kleine Teams, mit Rechnungen und Rollen.",
            "Pour les petites équipes, avec factures et rôles.",
        ),
    },
];

pub struct Period {
    pub code: &'static str,
    /// Value of the attribute `billing_period`.
    pub value: &'static str,
    pub name: Said,
    pub months: u32,
    /// Months charged.
    pub charged: u32,
    pub about: Said,
}

pub const PERIODS: &[Period] = &[
    Period {
        code: "MONTHLY",
        value: "month",
        name: said("monthly", "monatlich", "mensuel"),
        months: 1,
        charged: 1,
        about: said(
            "Can be cancelled at the end of each month.",
            "Zum Ende jedes Monats kündbar.",
            "Résiliable à la fin de chaque mois.",
        ),
    },
    Period {
        code: "YEARLY",
        value: "year",
        name: said("yearly", "jährlich", "annuel"),
        months: 12,
        charged: 10,
        about: said(
            "Twelve months for the price of ten.",
            "Zwölf Monate zum Preis von zehn.",
            "Douze mois pour le prix de dix.",
        ),
    },
];
