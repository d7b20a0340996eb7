//! Names of keys, and in which place each lies. Shared names come from `contracts`.

use common::Sku;
use contracts::interest;
use contracts::places::{Layout, Place};

use crate::domain::{PairKind, Pseudonym, popularity};
use crate::usecases::ports::{Shelf, WriteDown};

#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Before every key.
    pub(super) prefix: String,
    pub(super) layout: Layout,
}

impl Keys {
    pub(super) fn profile(&self, person: &Pseudonym) -> String {
        self.about("interest", person)
    }

    pub(super) fn recent(&self, person: &Pseudonym) -> String {
        self.about("recent", person)
    }

    pub(super) fn seen(&self, person: &Pseudonym) -> String {
        self.about("seen", person)
    }

    /// When a person last said no.
    pub(super) fn refused(&self, person: &Pseudonym) -> String {
        self.about("refused", person)
    }

    /// What a person was shown since they clicked last.
    pub(super) fn lists(&self, person: &Pseudonym) -> String {
        self.about("lists", person)
    }

    /// In which experiments a person is.
    pub(super) fn enrolments(&self, person: &Pseudonym) -> String {
        self.about("experiments", person)
    }

    /// Sums of an experiment over the people of a place, beside them.
    pub(super) fn sums(&self, home: Place, series: &str) -> String {
        self.at(home, &format!("experiment:{series}"))
    }

    /// Up to where a partition is counted in a place: beside what it guards.
    pub(super) fn counted(&self, place: Place, partition: i32) -> String {
        self.at(place, &format!("clicks-counted:{partition}"))
    }

    /// From when on we know who has said no, of the people of a partition. Where products are: a server that loses it loses the mark of
    /// that place with it, and then it is told anew.
    pub(super) fn refusals_since(&self, partition: i32) -> String {
        self.of_the_shop(&format!("refusals-since:{partition}"))
    }

    /// There while all products are.
    pub(super) fn features_learned(&self) -> String {
        self.of_the_shop("features-learned")
    }

    pub(super) fn feature(&self, sku: &Sku) -> String {
        self.of_the_shop(&format!("feature:{sku}"))
    }

    /// The stream of visits, the index that was written down, and who may write it down.
    pub(super) fn visits(&self) -> String {
        self.of_the_shop("visits:steps")
    }

    pub(super) fn visit_snapshot(&self) -> String {
        self.of_the_shop("visits:snapshot")
    }

    pub(super) fn visit_writer(&self, why: WriteDown) -> String {
        self.of_the_shop(match why {
            WriteDown::Time => "visits:writer",
            WriteDown::Traffic => "visits:writer:traffic",
        })
    }

    /// Categories by activity.
    pub(super) fn categories(&self, now_ms: i64) -> String {
        let (era, _) = popularity::era_and_weight(now_ms, popularity::TRENDING_HALF_LIFE_MS);
        self.of_the_shop(&format!("popular:{era}:categories"))
    }

    pub(super) fn shelf(&self, shelf: &Shelf, now_ms: i64) -> String {
        let (era, _) = popularity::era_and_weight(now_ms, popularity::TRENDING_HALF_LIFE_MS);
        self.of_the_shop(&match shelf {
            Shelf::Everything => format!("popular:{era}:all"),
            Shelf::Category(category) => format!("popular:{era}:category:{category}"),
            Shelf::Newest => "newest:all".to_owned(),
            Shelf::NewestOf(category) => format!("newest:category:{category}"),
            Shelf::Together(PairKind::Viewed, sku) => format!("together:{era}:viewed:{sku}"),
            Shelf::Together(PairKind::Bought, sku) => format!("together:{era}:bought:{sku}"),
        })
    }

    /// Beside everything else about a person.
    fn about(&self, what: &str, person: &Pseudonym) -> String {
        self.at(self.layout.home(person.as_str()), &interest::key(what, person.as_str()))
    }

    fn of_the_shop(&self, name: &str) -> String {
        self.at(self.layout.shop(), name)
    }

    fn at(&self, place: Place, name: &str) -> String {
        format!("{}{}", self.prefix, place.key(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sites have these names in their servers.
    #[test]
    fn on_one_server_keys_have_the_names_that_they_had_before_there_were_clusters() {
        let keys = Keys { prefix: "t1:".to_owned(), layout: Layout::OneServer };
        let digits = "51".repeat(16);
        let who = Pseudonym::parse(&digits).expect("a pseudonym");
        let sku = Sku::parse("C1").expect("a SKU");
        for (key, name) in [
            (keys.profile(&who), "t1:interest:{who}"),
            (keys.recent(&who), "t1:recent:{who}"),
            (keys.seen(&who), "t1:seen:{who}"),
            (keys.refused(&who), "t1:refused:{who}"),
            (keys.lists(&who), "t1:lists:{who}"),
            (keys.enrolments(&who), "t1:experiments:{who}"),
            (keys.sums(Layout::OneServer.home(&digits), "pairs"), "t1:experiment:pairs"),
            (keys.counted(Layout::OneServer.shop(), 3), "t1:clicks-counted:3"),
            (keys.refusals_since(3), "t1:refusals-since:3"),
            (keys.features_learned(), "t1:features-learned"),
            (keys.feature(&sku), "t1:feature:C1"),
            (keys.visits(), "t1:visits:steps"),
            (keys.visit_snapshot(), "t1:visits:snapshot"),
            (keys.visit_writer(WriteDown::Time), "t1:visits:writer"),
            (keys.visit_writer(WriteDown::Traffic), "t1:visits:writer:traffic"),
            (keys.categories(0), "t1:popular:0:categories"),
            (keys.shelf(&Shelf::Everything, 0), "t1:popular:0:all"),
            (keys.shelf(&Shelf::Category("coats".to_owned()), 0), "t1:popular:0:category:coats"),
            (keys.shelf(&Shelf::Newest, 0), "t1:newest:all"),
            (keys.shelf(&Shelf::NewestOf("coats".to_owned()), 0), "t1:newest:category:coats"),
            (keys.shelf(&Shelf::Together(PairKind::Viewed, sku.clone()), 0), "t1:together:0:viewed:C1"),
            (keys.shelf(&Shelf::Together(PairKind::Bought, sku.clone()), 0), "t1:together:0:bought:C1"),
        ] {
            assert_eq!(key.replace(&digits, "who"), name);
        }
    }
}
