//! Fashion made to order: garments, fabrics, designs, and what is said about each.

use super::{Said, said};

pub struct Garment {
    pub code: &'static str,
    pub category: &'static str,
    pub noun: Said,
    /// In the first, simplest fabric, in euros.
    pub price: u32,
    pub sizes: &'static [&'static str],
    /// Codes of [`FABRICS`].
    pub fabrics: [&'static str; 5],
    pub about: Said,
}

const LETTERS: &[&str] = &["XS", "S", "M", "L", "XL", "XXL"];
const NUMBERS: &[&str] = &["34", "36", "38", "40", "42", "44", "46"];
const SUIT_NUMBERS: &[&str] = &["44", "46", "48", "50", "52", "54", "56"];
const COLLARS: &[&str] = &["37", "38", "39", "40", "41", "42", "43", "44"];
const ONE: &[&str] = &["one-size"];

pub const GARMENTS: &[Garment] = &[
    Garment {
        code: "COAT",
        category: "fashion/coats",
        noun: said("Coat", "Mantel", "Manteau"),
        price: 420,
        sizes: LETTERS,
        fabrics: ["loden", "merino", "tweed", "alpaca", "cashmere"],
        about: said(
            "A coat for cold mornings: a collar that can be turned up, deep pockets, and a hem below the knee.",
            "Ein Mantel für kalte Morgen: ein Kragen zum Hochstellen, tiefe Taschen und ein Saum unter dem Knie.",
            "Un manteau pour les matins froids : un col qui se relève, des poches profondes et un ourlet sous le genou.",
        ),
    },
    Garment {
        code: "TRENCH",
        category: "fashion/coats",
        noun: said("Trench Coat", "Trenchcoat", "Trench"),
        price: 380,
        sizes: LETTERS,
        fabrics: ["gabardine", "twill", "waxed", "linen", "flannel"],
        about: said(
            "Double-breasted and belted, with a storm flap that keeps the rain out without looking like rainwear.",
            "Zweireihig und mit Gürtel, dazu ein Koller, der den Regen abhält, ohne nach Regenkleidung auszusehen.",
            "Croisé et ceinturé, avec un bavolet qui arrête la pluie sans avoir l'air d'un imperméable.",
        ),
    },
    Garment {
        code: "CAPE",
        category: "fashion/coats",
        noun: said("Cape", "Cape", "Cape"),
        price: 310,
        sizes: ONE,
        fabrics: ["loden", "merino", "alpaca", "velvet", "cashmere"],
        about: said(
            "Falls from the shoulder in one line and leaves the arms free; at home over jeans and over an evening gown.",
            "Fällt in einer Linie von der Schulter und lässt die Arme frei; passt über Jeans wie über ein Abendkleid.",
            "Tombe de l'épaule d'un seul trait et laisse les bras libres ; se porte sur un jean comme sur une robe du soir.",
        ),
    },
    Garment {
        code: "BLAZER",
        category: "fashion/jackets",
        noun: said("Blazer", "Blazer", "Blazer"),
        price: 290,
        sizes: NUMBERS,
        fabrics: ["twill", "flannel", "linen", "merino", "velvet"],
        about: said(
            "Soft shoulders and a single button: serious enough for the office, light enough to travel in.",
            "Weiche Schultern und ein einziger Knopf: ernst genug fürs Büro, leicht genug für die Reise.",
            "Épaules souples et un seul bouton : assez sérieux pour le bureau, assez léger pour voyager.",
        ),
    },
    Garment {
        code: "JACKET",
        category: "fashion/jackets",
        noun: said("Jacket", "Jacke", "Veste"),
        price: 240,
        sizes: LETTERS,
        fabrics: ["cotton", "waxed", "twill", "tweed", "loden"],
        about: said(
            "A short jacket with a two-way zip and pockets where hands expect them.",
            "Eine kurze Jacke mit Zweiwege-Reißverschluss und Taschen dort, wo die Hände sie suchen.",
            "Une veste courte avec une fermeture à double curseur et des poches là où les mains les cherchent.",
        ),
    },
    Garment {
        code: "SUIT",
        category: "fashion/suits",
        noun: said("Suit", "Anzug", "Costume"),
        price: 690,
        sizes: SUIT_NUMBERS,
        fabrics: ["twill", "flannel", "linen", "merino", "cashmere"],
        about: said(
            "Jacket and trousers cut from one length of cloth, so that they age together.",
            "Sakko und Hose aus einer Stoffbahn geschnitten, damit sie gemeinsam altern.",
            "Veste et pantalon taillés dans la même pièce d'étoffe, pour vieillir ensemble.",
        ),
    },
    Garment {
        code: "WAISTCOAT",
        category: "fashion/suits",
        noun: said("Waistcoat", "Weste", "Gilet"),
        price: 150,
        sizes: SUIT_NUMBERS,
        fabrics: ["twill", "flannel", "tweed", "linen", "velvet"],
        about: said(
            "Six buttons, an adjustable back, and two pockets for a watch or a ticket.",
            "Sechs Knöpfe, ein verstellbarer Rücken und zwei Taschen für eine Uhr oder ein Billett.",
            "Six boutons, un dos réglable et deux poches pour une montre ou un billet.",
        ),
    },
    Garment {
        code: "DRESS",
        category: "fashion/dresses",
        noun: said("Dress", "Kleid", "Robe"),
        price: 260,
        sizes: NUMBERS,
        fabrics: ["cotton", "linen", "crepe", "merino", "silk"],
        about: said(
            "A day dress with real pockets and a waist that sits where yours does.",
            "Ein Tageskleid mit echten Taschen und einer Taille, die dort sitzt, wo Ihre ist.",
            "Une robe de jour avec de vraies poches et une taille placée là où se trouve la vôtre.",
        ),
    },
    Garment {
        code: "GOWN",
        category: "fashion/dresses",
        noun: said("Evening Gown", "Abendkleid", "Robe du soir"),
        price: 520,
        sizes: NUMBERS,
        fabrics: ["crepe", "velvet", "merino", "silk", "cashmere"],
        about: said(
            "Floor length, with a line that moves when you do and needs no jewellery to be seen.",
            "Bodenlang, mit einer Linie, die jede Bewegung mitgeht und auch ohne Schmuck auffällt.",
            "Longue jusqu'au sol, d'une ligne qui suit chaque geste et se remarque sans bijou.",
        ),
    },
    Garment {
        code: "SHIRT",
        category: "fashion/shirts",
        noun: said("Shirt", "Hemd", "Chemise"),
        price: 120,
        sizes: COLLARS,
        fabrics: ["cotton", "twill", "linen", "flannel", "silk"],
        about: said(
            "A shirt that stays where it is tucked, with a collar that stands up without stays.",
            "Ein Hemd, das in der Hose bleibt, mit einem Kragen, der auch ohne Stäbchen steht.",
            "Une chemise qui reste en place, avec un col qui tient sans baleines.",
        ),
    },
    Garment {
        code: "BLOUSE",
        category: "fashion/shirts",
        noun: said("Blouse", "Bluse", "Blouse"),
        price: 130,
        sizes: NUMBERS,
        fabrics: ["cotton", "linen", "crepe", "flannel", "silk"],
        about: said(
            "Covered buttons and a gathered cuff; it can be worn loose or tied.",
            "Bezogene Knöpfe und eine geraffte Manschette; sie lässt sich offen oder gebunden tragen.",
            "Boutons recouverts et poignets froncés ; elle se porte ample ou nouée.",
        ),
    },
    Garment {
        code: "TROUSERS",
        category: "fashion/trousers",
        noun: said("Trousers", "Hose", "Pantalon"),
        price: 160,
        sizes: NUMBERS,
        fabrics: ["cotton", "twill", "linen", "flannel", "merino"],
        about: said(
            "High enough to sit well, wide enough to walk far, with a crease that survives the day.",
            "Hoch genug, um gut zu sitzen, weit genug für lange Wege, mit einer Falte, die den Tag übersteht.",
            "Assez haut pour bien tomber, assez large pour marcher loin, avec un pli qui tient la journée.",
        ),
    },
    Garment {
        code: "SKIRT",
        category: "fashion/skirts",
        noun: said("Skirt", "Rock", "Jupe"),
        price: 140,
        sizes: NUMBERS,
        fabrics: ["cotton", "twill", "linen", "tweed", "velvet"],
        about: said(
            "Calf length, with pleats that open when you walk and close when you stand.",
            "Wadenlang, mit Falten, die sich im Gehen öffnen und im Stehen schließen.",
            "À mi-mollet, avec des plis qui s'ouvrent à la marche et se referment à l'arrêt.",
        ),
    },
    Garment {
        code: "SWEATER",
        category: "fashion/knitwear",
        noun: said("Sweater", "Pullover", "Pull"),
        price: 180,
        sizes: LETTERS,
        fabrics: ["cotton", "merino", "alpaca", "silk", "cashmere"],
        about: said(
            "Knitted in one piece without side seams; nothing to rub and nothing to come undone.",
            "In einem Stück ohne Seitennähte gestrickt: nichts reibt, nichts geht auf.",
            "Tricoté d'une seule pièce, sans couture latérale : rien ne frotte, rien ne se défait.",
        ),
    },
    Garment {
        code: "CARDIGAN",
        category: "fashion/knitwear",
        noun: said("Cardigan", "Strickjacke", "Cardigan"),
        price: 190,
        sizes: LETTERS,
        fabrics: ["cotton", "merino", "alpaca", "silk", "cashmere"],
        about: said(
            "A ribbed cardigan with pockets deep enough for a book.",
            "Eine gerippte Strickjacke mit Taschen, in die ein Buch passt.",
            "Un cardigan côtelé aux poches assez profondes pour un livre.",
        ),
    },
    Garment {
        code: "SCARF",
        category: "fashion/accessories",
        noun: said("Scarf", "Schal", "Écharpe"),
        price: 80,
        sizes: ONE,
        fabrics: ["cotton", "merino", "alpaca", "silk", "cashmere"],
        about: said(
            "Two metres long and wide enough to be a shawl when the evening turns cool.",
            "Zwei Meter lang und breit genug, um am kühlen Abend als Tuch zu dienen.",
            "Deux mètres de long et assez large pour servir d'étole quand le soir fraîchit.",
        ),
    },
];

pub struct Fabric {
    pub code: &'static str,
    /// As it stands in a name: "in …", "aus …", "en …".
    pub of: Said,
    /// Hundredths of the garment's price.
    pub factor: u32,
    pub grams_per_m2: u32,
    pub about: Said,
}

pub const FABRICS: &[Fabric] = &[
    Fabric {
        code: "cotton",
        of: said("in Organic Cotton", "aus Bio-Baumwolle", "en coton bio"),
        factor: 100,
        grams_per_m2: 150,
        about: said(
            "Organic cotton, washed once before cutting, does not shrink later.",
            "Bio-Baumwolle, vor dem Zuschnitt einmal gewaschen, läuft später nicht mehr ein.",
            "Le coton bio, lavé une fois avant la coupe, ne rétrécit plus ensuite.",
        ),
    },
    Fabric {
        code: "twill",
        of: said("in Fine Twill", "aus feinem Twill", "en twill fin"),
        factor: 108,
        grams_per_m2: 220,
        about: said(
            "The diagonal weave of fine twill hides creases and wears evenly.",
            "Die schräge Bindung des feinen Twills versteckt Knitter und trägt sich gleichmäßig ab.",
            "L'armure diagonale du twill fin cache les plis et s'use régulièrement.",
        ),
    },
    Fabric {
        code: "linen",
        of: said("in Linen", "aus Leinen", "en lin"),
        factor: 112,
        grams_per_m2: 190,
        about: said(
            "Linen from the Atlantic coast cools in summer and softens with every wash.",
            "Leinen von der Atlantikküste kühlt im Sommer und wird mit jeder Wäsche weicher.",
            "Le lin de la côte atlantique rafraîchit l'été et s'assouplit à chaque lavage.",
        ),
    },
    Fabric {
        code: "flannel",
        of: said("in Flannel", "aus Flanell", "en flanelle"),
        factor: 118,
        grams_per_m2: 280,
        about: said(
            "Brushed flannel is warm from the first minute and never itches.",
            "Angerauter Flanell wärmt ab der ersten Minute und kratzt nie.",
            "La flanelle grattée tient chaud dès la première minute et ne pique jamais.",
        ),
    },
    Fabric {
        code: "gabardine",
        of: said("in Gabardine", "aus Gabardine", "en gabardine"),
        factor: 100,
        grams_per_m2: 260,
        about: said(
            "Tightly woven gabardine lets drops run off and still breathes.",
            "Dicht gewebte Gabardine lässt Tropfen abperlen und atmet trotzdem.",
            "La gabardine, tissée serré, laisse perler les gouttes et respire quand même.",
        ),
    },
    Fabric {
        code: "waxed",
        of: said("in Waxed Cotton", "aus gewachster Baumwolle", "en coton ciré"),
        factor: 125,
        grams_per_m2: 340,
        about: said(
            "Waxed cotton takes on the traces of its wearer and can be waxed again for decades.",
            "Gewachste Baumwolle nimmt die Spuren ihres Trägers an und lässt sich jahrzehntelang nachwachsen.",
            "Le coton ciré garde les traces de qui le porte et se cire à nouveau pendant des décennies.",
        ),
    },
    Fabric {
        code: "loden",
        of: said("in Loden", "aus Loden", "en loden"),
        factor: 104,
        grams_per_m2: 480,
        about: said(
            "Fulled loden keeps wind and snow out and the warmth in.",
            "Gewalkter Loden hält Wind und Schnee draußen und die Wärme drinnen.",
            "Le loden foulé arrête le vent et la neige et garde la chaleur.",
        ),
    },
    Fabric {
        code: "tweed",
        of: said("in Tweed", "aus Tweed", "en tweed"),
        factor: 122,
        grams_per_m2: 420,
        about: said(
            "Tweed of many-coloured yarns: from afar it is one colour, from near a landscape.",
            "Tweed aus vielfarbigem Garn: von weitem eine Farbe, von nahem eine Landschaft.",
            "Un tweed aux fils de toutes les teintes : de loin une couleur, de près un paysage.",
        ),
    },
    Fabric {
        code: "crepe",
        of: said("in Crepe", "aus Krepp", "en crêpe"),
        factor: 120,
        grams_per_m2: 170,
        about: said(
            "Crepe falls heavily, does not shine, and comes out of a suitcase as it went in.",
            "Krepp fällt schwer, glänzt nicht und kommt aus dem Koffer, wie er hineinging.",
            "Le crêpe tombe bien, ne brille pas et ressort de la valise comme il y est entré.",
        ),
    },
    Fabric {
        code: "velvet",
        of: said("in Velvet", "aus Samt", "en velours"),
        factor: 135,
        grams_per_m2: 320,
        about: said(
            "Cotton velvet with a short pile that does not mark when you sit.",
            "Baumwollsamt mit kurzem Flor, der sich beim Sitzen nicht drückt.",
            "Un velours de coton à poil court qui ne marque pas quand on s'assied.",
        ),
    },
    Fabric {
        code: "merino",
        of: said("in Merino Wool", "aus Merinowolle", "en laine mérinos"),
        factor: 130,
        grams_per_m2: 240,
        about: said(
            "Merino wool warms when it is cold, cools when it is warm, and airs itself overnight.",
            "Merinowolle wärmt bei Kälte, kühlt bei Wärme und lüftet sich über Nacht von selbst.",
            "La laine mérinos réchauffe quand il fait froid, rafraîchit quand il fait chaud et s'aère en une nuit.",
        ),
    },
    Fabric {
        code: "alpaca",
        of: said("in Alpaca", "aus Alpaka", "en alpaga"),
        factor: 155,
        grams_per_m2: 260,
        about: said(
            "Undyed alpaca is light for its warmth and does not pill.",
            "Ungefärbtes Alpaka ist leicht für seine Wärme und bildet keine Knötchen.",
            "L'alpaga non teint est léger pour sa chaleur et ne bouloche pas.",
        ),
    },
    Fabric {
        code: "silk",
        of: said("in Silk", "aus Seide", "en soie"),
        factor: 175,
        grams_per_m2: 90,
        about: said(
            "Washed silk has a dull sheen and may be cleaned at home.",
            "Gewaschene Seide schimmert matt und darf zu Hause gereinigt werden.",
            "La soie lavée a un éclat mat et se nettoie chez soi.",
        ),
    },
    Fabric {
        code: "cashmere",
        of: said("in Cashmere", "aus Kaschmir", "en cachemire"),
        factor: 240,
        grams_per_m2: 230,
        about: said(
            "Cashmere from long fibres, combed and not shorn, stays soft for many winters.",
            "Kaschmir aus langen Fasern, gekämmt statt geschoren, bleibt viele Winter weich.",
            "Le cachemire à longues fibres, peigné et non tondu, reste doux bien des hivers.",
        ),
    },
];

/// Names of designs: places, people and winds; the same in all languages.
pub const DESIGNS: &[&str] = &[
    "Lindau", "Alba", "Sorrel", "Isar", "Marlow", "Odette", "Fjord", "Verano", "Clara", "Anselm", "Brise", "Corvin",
    "Delft", "Elba", "Florian", "Garonne", "Hanna", "Ivo", "Jura", "Kestrel", "Luzern", "Mira", "Noor", "Orla",
];

pub const HOUSES: &[&str] = &[
    "Aurel & Fell",
    "Maison Brumel",
    "Tarnhaus",
    "Sefa Lindqvist",
    "Atelier Novaro",
    "Wollwerk Ost",
    "Casa Mirelle",
    "Northmoor",
];

pub const COLOURS: &[&str] =
    &["black", "ivory", "navy", "charcoal", "camel", "forest", "burgundy", "rust", "sky", "rose", "ochre", "plum"];

/// How the house works; one of them ends each description.
pub const MAKING: &[Said] = &[
    said(
        "Each piece is cut on its own and finished by hand in a workshop of twelve people.",
        "Jedes Stück wird einzeln zugeschnitten und in einer Werkstatt von zwölf Menschen von Hand vollendet.",
        "Chaque pièce est coupée à l'unité et finie à la main dans un atelier de douze personnes.",
    ),
    said(
        "The seams leave room, so that it can be let out or taken in later.",
        "Die Nähte haben Zugabe, damit es sich später weiter oder enger machen lässt.",
        "Les coutures gardent de la réserve, pour élargir ou resserrer plus tard.",
    ),
    said(
        "The pattern follows your own measurements, taken at home with our guide or in one of our studios.",
        "Der Schnitt folgt Ihren eigenen Maßen, genommen zu Hause mit unserer Anleitung oder in einem unserer Studios.",
        "Le patron suit vos propres mesures, prises chez vous avec notre guide ou dans l'un de nos ateliers.",
    ),
    said(
        "On request we embroider initials inside, at no charge.",
        "Auf Wunsch sticken wir Initialen ein, ohne Aufpreis.",
        "Sur demande, nous brodons des initiales à l'intérieur, sans supplément.",
    ),
    said(
        "Offcuts go back to the mill and are spun again.",
        "Verschnitt geht zurück in die Weberei und wird neu versponnen.",
        "Les chutes retournent à la filature et sont filées à nouveau.",
    ),
    said(
        "Repairs are free for five years.",
        "Reparaturen sind fünf Jahre lang kostenlos.",
        "Les réparations sont gratuites pendant cinq ans.",
    ),
];
