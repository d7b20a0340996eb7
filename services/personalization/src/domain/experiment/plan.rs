//! The experiments that run, as the settings say: what each changes for those it treats, how many it treats, and what would matter.

use super::{Arm, Experiment, WHOLE};
use crate::domain::Pseudonym;

/// Experiments at once. Each needs thousands of people in each arm, so more would not end; it bounds what is told in an answer, too.
pub const MOST_PLANS: usize = 4;

/// Of what one person spends no more counts than this, in the smallest unit: one order must not decide. The sum of the squares of
/// nine million people who spend as much stays within 64 bits.
pub const MOST_MINOR: i64 = 1_000_000;

/// Bytes of a name: it becomes a key, a label and a part of a path.
const LONGEST_NAME: usize = 40;

/// Bytes of what it is summed up under.
#[cfg(test)]
pub const LONGEST_SERIES: usize = LONGEST_NAME + 42;

/// What the treated get in place of the usual "for you"; in the order of their strength, so that who is treated twice gets the
/// stronger. Experiments deal independently, so each arm of one has equal shares of the arms of the others, and the comparison stays fair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The same: an experiment that must find nothing shows that the machinery is honest.
    #[default]
    Nothing,
    /// Ranked by interests alone, without what visits suggest.
    WithoutVisits,
    /// What strangers get.
    Popular,
    /// An empty list: is the strip worth its place?
    Off,
}

impl Change {
    const ALL: [Self; 4] = [Self::Nothing, Self::WithoutVisits, Self::Popular, Self::Off];

    pub fn code(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::WithoutVisits => "without-visits",
            Self::Popular => "popular",
            Self::Off => "off",
        }
    }
}

/// One experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    pub change: Change,
    /// How many of [`WHOLE`] are treated, 1 to all but one.
    pub treated: u16,
    /// A difference of conversion that would matter, in parts of [`WHOLE`].
    pub conversion: u16,
    /// A difference of revenue per person that would matter, in the smallest unit.
    pub revenue_minor: u32,
    /// What counts of one person's orders at most, in the smallest unit, to [`MOST_MINOR`].
    pub most_minor: i64,
}

impl Plan {
    /// Under which it is summed up. Whoever changes the share or the treatment begins anew: people would stand in an arm whose
    /// treatment they did not get. So does whoever changes what would matter or what counts: criteria that are chosen after a look
    /// find what they look for. The same again goes on with the old sums; a repetition needs a new name.
    pub fn series(&self) -> String {
        let Self { name, change, treated, conversion, revenue_minor, most_minor } = self;
        format!("{name}.{treated}.{}.{conversion}.{revenue_minor}.{most_minor}", change.code())
    }

    pub fn arm(&self, key: &[u8], who: &Pseudonym) -> Arm {
        Experiment { name: &self.name, treated: self.treated }.arm(key, who)
    }

    /// `name=calm change=popular treated=5000 conversion=100 revenue=50 most=100000`, in any order, each once.
    fn parse(text: &str) -> Result<Self, String> {
        let wanted = ["name", "change", "treated", "conversion", "revenue", "most"];
        let mut said: [Option<&str>; 6] = [None; 6];
        for word in text.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} is not key=value"))?;
            let place = wanted.iter().position(|known| *known == key).ok_or_else(|| format!("{key} is unknown"))?;
            if said[place].replace(value).is_some() {
                return Err(format!("{key} stands twice"));
            }
        }
        let value = |place: usize| said[place].ok_or_else(|| format!("{} is missing", wanted[place]));
        let number = |place: usize, most: i64| {
            let number = value(place)?.parse::<i64>().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{} must lie between 1 and {most}", wanted[place]))
        };
        let name = value(0)?;
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!("a name has 1 to {LONGEST_NAME} of a-z, 0-9 and -"));
        }
        let change = value(1)?;
        let change = Change::ALL.into_iter().find(|known| known.code() == change);
        // The bounds are those of the types, so nothing is cut off.
        Ok(Self {
            name: name.to_owned(),
            change: change.ok_or("change must be nothing, without-visits, popular or off")?,
            treated: number(2, i64::from(WHOLE) - 1)? as u16,
            conversion: number(3, i64::from(WHOLE))? as u16,
            revenue_minor: number(4, MOST_MINOR)? as u32,
            most_minor: number(5, MOST_MINOR)?,
        })
    }
}

/// All that run; none is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plans(Vec<Plan>);

impl Plans {
    /// Plans with `;` between them; empty: none.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plans: Vec<Plan> =
            text.split(';').filter(|text| !text.trim().is_empty()).map(Plan::parse).collect::<Result<_, _>>()?;
        if plans.len() > MOST_PLANS {
            return Err(format!("at most {MOST_PLANS} experiments run at once"));
        }
        for (place, plan) in plans.iter().enumerate() {
            if plans[..place].iter().any(|other| other.name == plan.name) {
                return Err(format!("{} stands twice", plan.name));
            }
        }
        Ok(Self(plans))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.0.iter()
    }

    pub fn named(&self, name: &str) -> Option<&Plan> {
        self.0.iter().find(|plan| plan.name == name)
    }
}

/// That somebody is in an arm of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub experiment: String,
    pub arm: Arm,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: &str = "name=calm change=popular treated=5000 conversion=100 revenue=50 most=100000";

    #[test]
    fn settings_say_which_experiments_run() {
        assert!(Plans::parse(" ").is_ok_and(|plans| plans.is_empty()));
        let plans = Plans::parse(&format!("{CALM}; {}", CALM.replace("calm", "other"))).expect("two plans");
        assert_eq!(
            plans.iter().map(Plan::series).collect::<Vec<_>>(),
            ["calm.5000.popular.100.50.100000", "other.5000.popular.100.50.100000"]
        );
        let calm = plans.named("calm").expect("it runs");
        assert_eq!((calm.conversion, calm.revenue_minor, calm.most_minor), (100, 50, 100_000));
        assert!(plans.named("Calm").is_none());
    }

    #[test]
    fn whatever_of_a_plan_changes_begins_to_count_anew() {
        let series = |text: &str| Plans::parse(text).expect("a plan").iter().map(Plan::series).collect::<Vec<_>>();
        for (from, to) in [
            ("calm", "other"),
            ("popular", "off"),
            ("treated=5000", "treated=5001"),
            ("conversion=100", "conversion=101"),
            ("revenue=50", "revenue=51"),
            ("most=100000", "most=100001"),
        ] {
            assert_ne!(series(&CALM.replace(from, to)), series(CALM), "{to}");
        }
        let longest = CALM.replace("calm", &"n".repeat(LONGEST_NAME)).replace("popular", "without-visits");
        let longest = longest.replace("=5000", "=9999").replace("=100 ", "=10000 ").replace("=50 ", "=1000000 ");
        assert_eq!(series(&longest.replace("most=100000", "most=1000000"))[0].len(), LONGEST_SERIES);
    }

    #[test]
    fn what_cannot_run_is_refused_in_words() {
        for (from, to, said) in [
            ("name=calm", "", "name is missing"),
            ("name=calm", "name=a.b", "a-z"),
            ("name=calm", "name=calm name=calm", "name stands twice"),
            ("popular", "louder", "change must be"),
            ("treated=5000", "treated=0", "between 1 and 9999"),
            ("treated=5000", "treated=10000", "between 1 and 9999"),
            ("revenue=50", "revenue=-1", "between 1 and 1000000"),
            ("most=100000", "most=1000001", "between 1 and 1000000"),
            ("most=100000", "most", "not key=value"),
            ("most=100000", "most=1 more=1", "more is unknown"),
        ] {
            let error = Plans::parse(&CALM.replace(from, to)).expect_err(to);
            assert!(error.contains(said), "{to}: {error}");
        }
        assert!(Plans::parse(&format!("{CALM};{CALM}")).expect_err("twice").contains("calm stands twice"));
        let many: Vec<String> = (0..5).map(|number| CALM.replace("calm", &format!("x{number}"))).collect();
        assert!(Plans::parse(&many.join(";")).expect_err("too many").contains("at most 4"));
    }

    #[test]
    fn who_is_treated_twice_gets_the_stronger_change() {
        assert_eq!([Change::Nothing, Change::Off, Change::Popular].into_iter().max(), Some(Change::Off));
    }
}
