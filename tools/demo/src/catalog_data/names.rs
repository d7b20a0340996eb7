//! What the categories and attributes of the demo catalog are called.

use super::{Said, said};

/// By path.
pub const CATEGORIES: &[(&str, Said)] = &[
    ("fashion", said("Fashion", "Mode", "Mode")),
    ("fashion/accessories", said("Accessories", "Accessoires", "Accessoires")),
    ("fashion/coats", said("Coats", "Mäntel", "Manteaux")),
    ("fashion/dresses", said("Dresses", "Kleider", "Robes")),
    ("fashion/jackets", said("Jackets", "Jacken", "Vestes")),
    ("fashion/knitwear", said("Knitwear", "Strickwaren", "Mailles")),
    ("fashion/shirts", said("Shirts", "Hemden", "Chemises")),
    ("fashion/skirts", said("Skirts", "Röcke", "Jupes")),
    ("fashion/suits", said("Suits", "Anzüge", "Costumes")),
    ("fashion/trousers", said("Trousers", "Hosen", "Pantalons")),
    ("gadgets", said("Gadgets", "Geräte", "Appareils")),
    ("gadgets/audio", said("Audio", "Audio", "Audio")),
    ("gadgets/cameras", said("Cameras", "Kameras", "Appareils photo")),
    ("gadgets/computers", said("Computers", "Computer", "Ordinateurs")),
    ("gadgets/home", said("Home", "Haushalt", "Maison")),
    ("gadgets/power", said("Power", "Strom & Akkus", "Énergie")),
    ("gadgets/tablets", said("Tablets", "Tablets", "Tablettes")),
    ("gadgets/wearables", said("Wearables", "Am Körper", "Objets portables")),
    ("digital", said("Digital", "Digitales", "Numérique")),
    ("digital/books", said("Books", "Bücher", "Livres")),
    ("digital/creative", said("Creative", "Kreatives", "Création")),
    ("digital/film", said("Film", "Film", "Cinéma")),
    ("digital/learning", said("Learning", "Lernen", "Apprentissage")),
    ("digital/living", said("Living", "Leben", "Vie pratique")),
    ("digital/music", said("Music", "Musik", "Musique")),
    ("digital/security", said("Security", "Sicherheit", "Sécurité")),
    ("digital/storage", said("Storage", "Speicherplatz", "Stockage")),
];

/// By key; options among them.
pub const ATTRIBUTES: &[(&str, Said)] = &[
    ("battery_life", said("Battery life", "Akkulaufzeit", "Autonomie")),
    ("billing_period", said("Billing period", "Abrechnung", "Facturation")),
    ("brightness", said("Brightness", "Helligkeit", "Luminosité")),
    ("build_height", said("Build height", "Bauhöhe", "Hauteur d'impression")),
    ("cable_length", said("Cable length", "Kabellänge", "Longueur du câble")),
    ("capacity", said("Capacity", "Kapazität", "Capacité")),
    ("colour", said("Colour", "Farbe", "Couleur")),
    ("data_rate", said("Data rate", "Datenrate", "Débit")),
    ("design", said("Design", "Muster", "Motif")),
    ("driver_diameter", said("Driver diameter", "Treiberdurchmesser", "Diamètre des transducteurs")),
    ("fabric", said("Fabric", "Stoff", "Tissu")),
    ("fabric_weight", said("Fabric weight", "Stoffgewicht", "Grammage")),
    ("flight_time", said("Flight time", "Flugzeit", "Temps de vol")),
    ("height", said("Height", "Höhe", "Hauteur")),
    ("keys", said("Keys", "Tasten", "Touches")),
    ("material", said("Material", "Material", "Matière")),
    ("memory", said("Memory", "Arbeitsspeicher", "Mémoire vive")),
    ("noise", said("Noise", "Lautstärke", "Niveau sonore")),
    ("nozzle_temperature", said("Nozzle temperature", "Düsentemperatur", "Température de la buse")),
    ("plan", said("Plan", "Tarif", "Formule")),
    ("ports", said("Ports", "Anschlüsse", "Ports")),
    ("power", said("Power", "Leistung", "Puissance")),
    ("pressure", said("Pressure", "Druck", "Pression")),
    ("production_time", said("Production time", "Fertigungszeit", "Délai de fabrication")),
    ("range", said("Range", "Reichweite", "Portée")),
    ("refresh_rate", said("Refresh rate", "Bildwiederholrate", "Fréquence d'image")),
    ("resolution", said("Resolution", "Auflösung", "Résolution")),
    ("screen_diagonal", said("Screen diagonal", "Bildschirmdiagonale", "Diagonale de l'écran")),
    ("seats", said("Seats", "Plätze", "Postes")),
    ("shots_per_charge", said("Shots per charge", "Aufnahmen je Ladung", "Photos par charge")),
    ("size", said("Size", "Größe", "Taille")),
    ("storage", said("Storage", "Speicher", "Stockage")),
    ("term", said("Term", "Laufzeit", "Durée")),
    ("warranty", said("Warranty", "Garantie", "Garantie")),
    ("water_resistance", said("Water resistance", "Wasserdicht bis", "Étanchéité")),
    ("water_tank", said("Water tank", "Wassertank", "Réservoir d'eau")),
    ("weight", said("Weight", "Gewicht", "Poids")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::generate::catalog;

    #[test]
    fn everything_in_the_catalog_is_called_something_and_nothing_else_is() {
        let (mut categories, mut attributes) = (BTreeSet::new(), BTreeSet::new());
        for product in catalog().into_iter().map(|offer| offer.product) {
            let top = product.category.split('/').next().unwrap_or_default().to_owned();
            categories.extend([top, product.category]);
            attributes.extend(product.attributes.into_iter().map(|attribute| attribute.key));
            attributes.extend(product.options.iter().map(|option| option.key.to_owned()));
        }
        let named = |table: &[(&str, Said)]| table.iter().map(|(key, _)| (*key).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(named(CATEGORIES), categories);
        assert_eq!(named(ATTRIBUTES), attributes);
    }
}
