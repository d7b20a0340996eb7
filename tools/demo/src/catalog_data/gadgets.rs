//! Gadgets with serial numbers: kinds, series, what is measured, and what is said about each.

use super::{Said, said};

/// A number on the data sheet: key, unit, value of the simplest model, growth per level and series.
pub struct Figure {
    pub key: &'static str,
    pub unit: &'static str,
    pub base: u32,
    pub step: u32,
}

pub struct Gadget {
    pub code: &'static str,
    pub category: &'static str,
    pub noun: Said,
    /// Of the simplest model, in euros.
    pub price: u32,
    pub figures: [Figure; 3],
    pub about: Said,
}

const fn figure(key: &'static str, unit: &'static str, base: u32, step: u32) -> Figure {
    Figure { key, unit, base, step }
}

pub const GADGETS: &[Gadget] = &[
    Gadget {
        code: "HEADPHONES",
        category: "gadgets/audio",
        noun: said("Wireless Headphones", "Funkkopfhörer", "Casque sans fil"),
        price: 149,
        figures: [
            figure("battery_life", "h", 24, 4),
            figure("weight", "g", 248, 6),
            figure("driver_diameter", "mm", 40, 1),
        ],
        about: said(
            "Closed headphones that quieten a train carriage and let the conductor's voice through.",
            "Geschlossene Kopfhörer, die ein Zugabteil leiser machen und die Stimme des Schaffners durchlassen.",
            "Un casque fermé qui fait taire le wagon et laisse passer la voix du contrôleur.",
        ),
    },
    Gadget {
        code: "EARBUDS",
        category: "gadgets/audio",
        noun: said("Earbuds", "In-Ear-Kopfhörer", "Écouteurs"),
        price: 89,
        figures: [
            figure("battery_life", "h", 6, 1),
            figure("weight", "g", 5, 1),
            figure("driver_diameter", "mm", 9, 1),
        ],
        about: said(
            "Small enough to be forgotten, with five sizes of tips so that they do stay in.",
            "Klein genug, um sie zu vergessen, mit Aufsätzen in fünf Größen, damit sie auch halten.",
            "Assez petits pour se faire oublier, avec cinq tailles d'embouts pour qu'ils tiennent vraiment.",
        ),
    },
    Gadget {
        code: "SPEAKER",
        category: "gadgets/audio",
        noun: said("Smart Speaker", "Smart-Lautsprecher", "Enceinte connectée"),
        price: 129,
        figures: [figure("power", "W", 20, 10), figure("weight", "g", 1150, 180), figure("height", "mm", 150, 20)],
        about: said(
            "Fills a room evenly and understands requests without sending them anywhere.",
            "Füllt den Raum gleichmäßig und versteht Wünsche, ohne sie irgendwohin zu schicken.",
            "Remplit la pièce uniformément et comprend les demandes sans les envoyer nulle part.",
        ),
    },
    Gadget {
        code: "EREADER",
        category: "gadgets/tablets",
        noun: said("E-Reader", "E-Reader", "Liseuse"),
        price: 119,
        figures: [
            figure("screen_diagonal", "in", 6, 1),
            figure("storage", "GB", 16, 16),
            figure("weight", "g", 170, 20),
        ],
        about: said(
            "Reads like paper in the sun and in bed, and opens books from any library.",
            "Liest sich wie Papier in der Sonne und im Bett und öffnet Bücher aus jeder Bibliothek.",
            "Se lit comme du papier, au soleil comme au lit, et ouvre les livres de toute bibliothèque.",
        ),
    },
    Gadget {
        code: "TABLET",
        category: "gadgets/tablets",
        noun: said("Tablet", "Tablet", "Tablette"),
        price: 329,
        figures: [
            figure("screen_diagonal", "in", 10, 1),
            figure("storage", "GB", 128, 128),
            figure("battery_life", "h", 11, 1),
        ],
        about: said(
            "Thin, quiet and bright, with a pen that lies in the case and not under the sofa.",
            "Dünn, leise und hell, mit einem Stift, der im Gehäuse liegt und nicht unter dem Sofa.",
            "Fine, silencieuse et lumineuse, avec un stylet rangé dans le boîtier et non sous le canapé.",
        ),
    },
    Gadget {
        code: "LAPTOP",
        category: "gadgets/computers",
        noun: said("Laptop", "Notebook", "Ordinateur portable"),
        price: 899,
        figures: [
            figure("screen_diagonal", "in", 13, 1),
            figure("memory", "GB", 16, 16),
            figure("battery_life", "h", 14, 2),
        ],
        about: said(
            "A laptop for a whole working day, whose memory, battery and keyboard are held by screws.",
            "Ein Notebook für einen ganzen Arbeitstag, dessen Speicher, Akku und Tastatur geschraubt sind.",
            "Un ordinateur pour une journée entière, dont la mémoire, la batterie et le clavier sont vissés.",
        ),
    },
    Gadget {
        code: "MONITOR",
        category: "gadgets/computers",
        noun: said("Monitor", "Monitor", "Écran"),
        price: 279,
        figures: [
            figure("screen_diagonal", "in", 24, 3),
            figure("refresh_rate", "Hz", 75, 30),
            figure("power", "W", 22, 6),
        ],
        about: said(
            "Even colours up to the edges, and one cable for picture, network and power.",
            "Gleichmäßige Farben bis in die Ecken und ein Kabel für Bild, Netz und Strom.",
            "Des couleurs égales jusqu'aux bords et un seul câble pour l'image, le réseau et le courant.",
        ),
    },
    Gadget {
        code: "KEYBOARD",
        category: "gadgets/computers",
        noun: said("Mechanical Keyboard", "Mechanische Tastatur", "Clavier mécanique"),
        price: 119,
        figures: [figure("keys", "pcs", 68, 12), figure("weight", "g", 780, 90), figure("cable_length", "cm", 150, 15)],
        about: said(
            "Switches can be exchanged one by one; loud, soft or somewhere in between.",
            "Die Schalter lassen sich einzeln tauschen: laut, leise oder irgendwo dazwischen.",
            "Les contacteurs se changent un par un : sonores, feutrés ou entre les deux.",
        ),
    },
    Gadget {
        code: "MOUSE",
        category: "gadgets/computers",
        noun: said("Wireless Mouse", "Funkmaus", "Souris sans fil"),
        price: 49,
        figures: [
            figure("battery_life", "h", 300, 100),
            figure("weight", "g", 74, 8),
            figure("resolution", "dpi", 3200, 1600),
        ],
        about: said(
            "Glides on glass and on a napkin, for left hands and for right ones.",
            "Gleitet auf Glas wie auf einer Serviette, für linke und für rechte Hände.",
            "Glisse sur le verre comme sur une serviette, pour les gauchers comme pour les droitiers.",
        ),
    },
    Gadget {
        code: "ACTIONCAM",
        category: "gadgets/cameras",
        noun: said("Action Camera", "Action-Kamera", "Caméra d'action"),
        price: 249,
        figures: [
            figure("resolution", "MP", 12, 4),
            figure("weight", "g", 120, 10),
            figure("water_resistance", "m", 10, 5),
        ],
        about: said(
            "Holds the horizon level on a bicycle, a board or a dog.",
            "Hält den Horizont gerade, auf dem Fahrrad, dem Brett oder dem Hund.",
            "Garde l'horizon droit, sur un vélo, une planche ou un chien.",
        ),
    },
    Gadget {
        code: "CAMERA",
        category: "gadgets/cameras",
        noun: said("Mirrorless Camera", "Systemkamera", "Appareil photo hybride"),
        price: 1090,
        figures: [
            figure("resolution", "MP", 24, 8),
            figure("weight", "g", 480, 45),
            figure("shots_per_charge", "pcs", 420, 60),
        ],
        about: said(
            "Few buttons, all in the right place, and a viewfinder that is a pleasure in bright light.",
            "Wenige Knöpfe, alle am richtigen Ort, und ein Sucher, der bei hellem Licht Freude macht.",
            "Peu de boutons, tous bien placés, et un viseur agréable en pleine lumière.",
        ),
    },
    Gadget {
        code: "DRONE",
        category: "gadgets/cameras",
        noun: said("Camera Drone", "Kameradrohne", "Drone photo"),
        price: 649,
        figures: [figure("flight_time", "min", 28, 4), figure("weight", "g", 249, 120), figure("range", "km", 6, 2)],
        about: said(
            "Folds into a coat pocket, flies back by itself, and is quiet enough not to annoy the village.",
            "Passt gefaltet in die Manteltasche, fliegt von selbst zurück und ist leise genug fürs Dorf.",
            "Se plie dans une poche de manteau, revient tout seul et reste assez discret pour le village.",
        ),
    },
    Gadget {
        code: "WATCH",
        category: "gadgets/wearables",
        noun: said("Smartwatch", "Smartwatch", "Montre connectée"),
        price: 219,
        figures: [
            figure("battery_life", "d", 5, 2),
            figure("weight", "g", 38, 4),
            figure("water_resistance", "m", 50, 25),
        ],
        about: said(
            "Tells the time first, then everything else; the strap is an ordinary one.",
            "Zeigt zuerst die Zeit und dann alles andere; das Armband ist ein gewöhnliches.",
            "Donne d'abord l'heure, puis tout le reste ; le bracelet est un bracelet ordinaire.",
        ),
    },
    Gadget {
        code: "BAND",
        category: "gadgets/wearables",
        noun: said("Fitness Band", "Fitnessarmband", "Bracelet d'activité"),
        price: 59,
        figures: [
            figure("battery_life", "d", 12, 3),
            figure("weight", "g", 22, 2),
            figure("water_resistance", "m", 30, 20),
        ],
        about: said(
            "Counts steps, sleep and heartbeats, and keeps the results on your wrist.",
            "Zählt Schritte, Schlaf und Herzschläge und behält die Ergebnisse am Handgelenk.",
            "Compte les pas, le sommeil et les battements, et garde les résultats au poignet.",
        ),
    },
    Gadget {
        code: "POWERBANK",
        category: "gadgets/power",
        noun: said("Power Bank", "Powerbank", "Batterie externe"),
        price: 39,
        figures: [figure("capacity", "mAh", 10000, 5000), figure("power", "W", 20, 25), figure("weight", "g", 210, 90)],
        about: said(
            "Charges a phone twice over a weekend and shows honestly what is left.",
            "Lädt ein Telefon übers Wochenende zweimal und zeigt ehrlich, was noch übrig ist.",
            "Recharge un téléphone deux fois en un week-end et montre honnêtement ce qui reste.",
        ),
    },
    Gadget {
        code: "CHARGER",
        category: "gadgets/power",
        noun: said("Wireless Charger", "Kabellose Ladestation", "Chargeur sans fil"),
        price: 45,
        figures: [figure("power", "W", 15, 10), figure("weight", "g", 160, 40), figure("cable_length", "cm", 120, 30)],
        about: said(
            "Phone, watch and earbuds side by side, cool and without a blinking light.",
            "Telefon, Uhr und Kopfhörer nebeneinander, kühl und ohne blinkendes Licht.",
            "Téléphone, montre et écouteurs côte à côte, sans chaleur ni voyant qui clignote.",
        ),
    },
    Gadget {
        code: "PROJECTOR",
        category: "gadgets/home",
        noun: said("Projector", "Beamer", "Vidéoprojecteur"),
        price: 549,
        figures: [figure("brightness", "lm", 900, 400), figure("weight", "g", 1900, 350), figure("noise", "dB", 24, 1)],
        about: said(
            "A picture as wide as the wall, straightened by itself, from a box the size of a loaf.",
            "Ein Bild so breit wie die Wand, von selbst geradegerückt, aus einem Kasten, so groß wie ein Brot.",
            "Une image large comme le mur, redressée toute seule, d'une boîte de la taille d'un pain.",
        ),
    },
    Gadget {
        code: "ROUTER",
        category: "gadgets/home",
        noun: said("Wi-Fi Router", "WLAN-Router", "Routeur Wi-Fi"),
        price: 139,
        figures: [figure("data_rate", "Mbit/s", 2400, 1200), figure("ports", "pcs", 3, 1), figure("power", "W", 9, 3)],
        about: said(
            "Reaches the attic, updates itself at night, and asks for no account.",
            "Reicht bis unters Dach, aktualisiert sich nachts und verlangt kein Konto.",
            "Porte jusqu'au grenier, se met à jour la nuit et ne demande aucun compte.",
        ),
    },
    Gadget {
        code: "PRINTER3D",
        category: "gadgets/home",
        noun: said("3D Printer", "3D-Drucker", "Imprimante 3D"),
        price: 459,
        figures: [
            figure("build_height", "mm", 180, 40),
            figure("nozzle_temperature", "°C", 260, 20),
            figure("weight", "kg", 9, 2),
        ],
        about: said(
            "Levels its bed, checks the first layer, and stops when the filament ends.",
            "Richtet sein Bett aus, prüft die erste Schicht und hält an, wenn das Filament endet.",
            "Nivelle son plateau, vérifie la première couche et s'arrête quand le filament est fini.",
        ),
    },
    Gadget {
        code: "ESPRESSO",
        category: "gadgets/home",
        noun: said("Connected Espresso Machine", "Vernetzte Espressomaschine", "Machine à expresso connectée"),
        price: 389,
        figures: [
            figure("pressure", "bar", 9, 1),
            figure("power", "W", 1350, 100),
            figure("water_tank", "ml", 1200, 300),
        ],
        about: said(
            "Warm when you get up, with a temperature that can be set to the degree.",
            "Warm, wenn Sie aufstehen, mit einer Temperatur, die sich aufs Grad einstellen lässt.",
            "Chaude à votre réveil, avec une température réglable au degré près.",
        ),
    },
];

pub const MAKERS: &[&str] =
    &["Corvaxis", "Haldenberg", "Nuvorra", "Tesselane", "Orbalis", "Vantoro", "Lumiqua", "Pikdale"];

pub const SERIES: &[&str] = &["Aria", "Vela", "Onda", "Kite"];

/// Name of a level and hundredths of the price.
pub const LEVELS: &[(&str, u32)] = &[("", 100), ("Plus", 135), ("Pro", 185)];

pub const PROMISES: &[Said] = &[
    said(
        "Every part can be ordered for ten years.",
        "Jedes Teil ist zehn Jahre lang nachbestellbar.",
        "Chaque pièce reste disponible pendant dix ans.",
    ),
    said(
        "The case is made of recycled aluminium.",
        "Das Gehäuse besteht aus wiederverwertetem Aluminium.",
        "Le boîtier est en aluminium recyclé.",
    ),
    said("Charges over USB-C.", "Geladen wird über USB-C.", "La charge se fait par USB-C."),
    said(
        "Works without an account and without the cloud.",
        "Funktioniert ohne Konto und ohne Cloud.",
        "Fonctionne sans compte et sans nuage.",
    ),
    said(
        "Security updates are promised for seven years.",
        "Sicherheitsupdates sind für sieben Jahre zugesagt.",
        "Les mises à jour de sécurité sont garanties sept ans.",
    ),
    said(
        "Each device carries its own serial number, engraved and on the receipt.",
        "Jedes Gerät trägt seine eigene Seriennummer, eingraviert und auf dem Beleg.",
        "Chaque appareil porte son propre numéro de série, gravé et inscrit sur le reçu.",
    ),
    said(
        "The box is the packaging: nothing else comes with it.",
        "Die Schachtel ist die Verpackung: mehr kommt nicht mit.",
        "La boîte est l'emballage : rien d'autre ne l'accompagne.",
    ),
    said(
        "A second battery fits into the same slot.",
        "Ein zweiter Akku passt in dasselbe Fach.",
        "Une seconde batterie se glisse dans le même logement.",
    ),
];
