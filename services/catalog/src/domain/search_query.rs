//! What may be searched for. Decided here: which parameters exist, how large a query may be, what a word is. The result is a
//! query that the index can answer at a bounded cost; nothing of it is index syntax, so there is no operator to smuggle in.
//!
//! Three refusals: what cannot be read is `Malformed` (400), what names something that cannot be searched by is
//! `Unacceptable` (422), what would cost too much is `TooCostly` (422).

use std::collections::{BTreeMap, BTreeSet};

use common::{Currency, ErrorKind, Explain, FieldProblem, Money, VisitorId};

use super::product::{CategoryPath, Family, is_name};

/// Longest query text, in characters, and its most words: real queries have three.
const MAX_TEXT: usize = 256;
const MAX_WORDS: usize = 16;
/// Filter values in one query.
const MAX_FILTERS: usize = 20;
/// Longest filter value, in characters: as long as an attribute value.
const MAX_VALUE: usize = 500;
/// Parameters in one query, known or not.
const MAX_PARAMETERS: usize = 64;
/// Answers of one page.
pub const MAX_LIMIT: usize = 100;
pub const DEFAULT_LIMIT: usize = 20;
/// Nobody leafs further; whoever wants everything reads the list of products.
pub const DEEPEST: usize = 1000;
/// Products are counted exactly up to here; beyond, "more than" is all anybody needs.
pub const COUNT_UP_TO: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Relevance,
    PriceAscending,
    PriceDescending,
    Newest,
}

impl Sort {
    const ALL: [Self; 4] = [Self::Relevance, Self::PriceAscending, Self::PriceDescending, Self::Newest];

    pub fn code(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::PriceAscending => "price_asc",
            Self::PriceDescending => "price_desc",
            Self::Newest => "newest",
        }
    }
}

/// How the words of a query had to be taken for anything to be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    #[default]
    AsAsked,
    /// The corrected words were looked for instead.
    Corrected,
    /// Any of the words, and words spelled nearly like them.
    Loose,
}

impl Reading {
    pub fn word(self) -> &'static str {
        match self {
            Self::AsAsked => "as_asked",
            Self::Corrected => "corrected",
            Self::Loose => "loose",
        }
    }
}

/// How strictly the words are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Most words must occur as they are.
    Exact,
    /// One is enough, and nearly is enough. For when nothing was found otherwise.
    Loose,
}

/// What products must be like. Values of one kind are alternatives; kinds must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filters {
    pub categories: BTreeSet<String>,
    pub brands: BTreeSet<String>,
    pub families: BTreeSet<String>,
    /// Key to values.
    pub attributes: BTreeMap<String, BTreeSet<String>>,
    /// Bounds in minor units of the region's currency, both inclusive.
    pub price_min: Option<i64>,
    pub price_max: Option<i64>,
}

/// A query whose cost is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// Words to look for; `None` lists everything that fits the filters.
    pub text: Option<String>,
    pub filters: Filters,
    pub sort: Sort,
    pub limit: usize,
    /// Still sealed.
    pub cursor: Option<String>,
    /// Tell how each product came to its place.
    pub explain: bool,
    pub visitor: Option<VisitorId>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryProblem {
    #[error("the parameter {0} cannot be read: {1}")]
    Malformed(String, &'static str),
    #[error("the parameter {0} is not acceptable: {1}")]
    Unacceptable(String, &'static str),
    #[error("{0}")]
    TooCostly(&'static str),
}

impl Explain for QueryProblem {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(..) => ErrorKind::Invalid,
            Self::Unacceptable(..) | Self::TooCostly(_) => ErrorKind::Unprocessable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Malformed(..) => "malformed-request",
            Self::Unacceptable(..) => "invalid-field",
            Self::TooCostly(_) => "query-too-costly",
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::Malformed(name, reason) | Self::Unacceptable(name, reason) => {
                vec![FieldProblem::new(format!("/{name}"), "invalid", *reason)]
            }
            Self::TooCostly(_) => Vec::new(),
        }
    }
}

impl SearchQuery {
    /// Reads the parameters of a search. `currency` is the region's: prices are asked in it.
    ///
    /// # Errors
    /// [`QueryProblem`], for the first parameter at fault.
    pub fn parse(parameters: &[(String, String)], currency: Currency) -> Result<Self, QueryProblem> {
        let mut reader = Reader::new(parameters)?;
        let mut filters = Filters::default();
        let text = reader.once("q")?.map_or(Ok(None), |text| words(&text))?;
        for value in reader.all("category") {
            let path = CategoryPath::parse(&value).map_err(|_| unacceptable("category", "not a category path"))?;
            filters.categories.insert(path.to_string());
        }
        for value in reader.all("family") {
            let family: Family = value.parse().map_err(|_| unacceptable("family", "not a product family"))?;
            filters.families.insert(family.code().to_owned());
        }
        for value in reader.all("brand") {
            filters.brands.insert(filter_value("brand", value)?);
        }
        for (key, value) in reader.attributes()? {
            let value = filter_value(&format!("attr.{key}"), value)?;
            filters.attributes.entry(key).or_default().insert(value);
        }
        filters.price_min = reader.once("price_min")?.map(|text| price("price_min", &text, currency)).transpose()?;
        filters.price_max = reader.once("price_max")?.map(|text| price("price_max", &text, currency)).transpose()?;
        if filters.count() > MAX_FILTERS {
            return Err(QueryProblem::TooCostly("a query has at most 20 filter values"));
        }
        if filters.price_min.zip(filters.price_max).is_some_and(|(min, max)| min > max) {
            return Err(unacceptable("price_min", "above price_max"));
        }
        let query = Self {
            text,
            filters,
            sort: reader.sort()?,
            limit: reader.limit()?,
            cursor: reader.once("cursor")?.filter(|cursor| !cursor.is_empty()),
            explain: reader.flag("explain")?,
            visitor: reader.visitor()?,
        };
        reader.end()?;
        Ok(query)
    }

    /// What a cursor of this query is bound to: everything that decides which products stand where.
    pub fn scope(&self) -> String {
        format!("search {:?} {:?} {}", self.text, self.filters, self.sort.code())
    }
}

impl Filters {
    pub fn count(&self) -> usize {
        let bounds = usize::from(self.price_min.is_some()) + usize::from(self.price_max.is_some());
        let attributes: usize = self.attributes.values().map(BTreeSet::len).sum();
        self.categories.len() + self.brands.len() + self.families.len() + attributes + bounds
    }
}

/// The parameters of the plain product list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    pub category: Option<CategoryPath>,
    pub limit: usize,
    /// Still sealed.
    pub cursor: Option<String>,
    pub visitor: Option<VisitorId>,
}

impl ListQuery {
    /// # Errors
    /// [`QueryProblem`], for the first parameter at fault.
    pub fn parse(parameters: &[(String, String)]) -> Result<Self, QueryProblem> {
        let mut reader = Reader::new(parameters)?;
        let category = reader.once("category")?.filter(|text| !text.is_empty());
        let category = category
            .map(|text| CategoryPath::parse(&text))
            .transpose()
            .map_err(|_| unacceptable("category", "not a category path"))?;
        let query = Self {
            category,
            limit: reader.limit()?,
            cursor: reader.once("cursor")?.filter(|cursor| !cursor.is_empty()),
            visitor: reader.visitor()?,
        };
        reader.end()?;
        Ok(query)
    }

    pub fn scope(&self) -> String {
        format!("products {:?}", self.category)
    }
}

/// The text of a completion request: as much of a query as has been typed.
///
/// # Errors
/// [`QueryProblem`] as for a search.
pub fn completion_text(parameters: &[(String, String)]) -> Result<Option<String>, QueryProblem> {
    let mut reader = Reader::new(parameters)?;
    let text = reader.once("q")?.map_or(Ok(None), |text| words(&text))?;
    reader.end()?;
    Ok(text)
}

/// Takes parameters away one by one; what is left at the end was unknown.
struct Reader {
    left: Vec<(String, String)>,
}

impl Reader {
    fn new(parameters: &[(String, String)]) -> Result<Self, QueryProblem> {
        if parameters.len() > MAX_PARAMETERS {
            return Err(QueryProblem::TooCostly("a query has at most 64 parameters"));
        }
        // Marks of campaigns are on every link of a newsletter and mean nothing here.
        let left = parameters.iter().filter(|(name, _)| !name.starts_with("utm_") && name != "utm").cloned().collect();
        Ok(Self { left })
    }

    fn all(&mut self, name: &str) -> Vec<String> {
        self.left
            .extract_if(.., |(other, _)| other == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
            .collect()
    }

    fn once(&mut self, name: &'static str) -> Result<Option<String>, QueryProblem> {
        let mut values: Vec<String> =
            self.left.extract_if(.., |(other, _)| other == name).map(|(_, value)| value).collect();
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(malformed(name, "it occurs more than once")),
        }
    }

    fn attributes(&mut self) -> Result<Vec<(String, String)>, QueryProblem> {
        let mut found = Vec::new();
        for (name, value) in self.left.extract_if(.., |(name, _)| name.starts_with("attr.")) {
            let key = name["attr.".len()..].to_owned();
            if !is_name(&key, 64) {
                return Err(unacceptable("attr", "not an attribute key"));
            }
            found.push((key, value));
        }
        Ok(found)
    }

    fn limit(&mut self) -> Result<usize, QueryProblem> {
        let Some(text) = self.once("limit")? else { return Ok(DEFAULT_LIMIT) };
        let limit = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        limit
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| malformed("limit", "a whole number from 1 to 100"))
    }

    fn sort(&mut self) -> Result<Sort, QueryProblem> {
        let Some(code) = self.once("sort")?.filter(|code| !code.is_empty()) else { return Ok(Sort::default()) };
        Sort::ALL
            .into_iter()
            .find(|sort| sort.code() == code)
            .ok_or_else(|| unacceptable("sort", "one of relevance, price_asc, price_desc, newest"))
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, QueryProblem> {
        match self.once(name)?.as_deref() {
            None | Some("false" | "0" | "") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(malformed(name, "true or false")),
        }
    }

    fn visitor(&mut self) -> Result<Option<VisitorId>, QueryProblem> {
        let text = self.once("visitor_id")?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| malformed("visitor_id", "not a lower-case UUID"))).transpose()
    }

    /// What nobody asked for is a mistake of the caller, or an attempt to reach the index.
    fn end(self) -> Result<(), QueryProblem> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(malformed(&printable(&name), "it is not known here")),
        }
    }
}

/// The name of an unknown parameter as far as it can be shown.
fn printable(name: &str) -> String {
    name.chars().filter(|letter| letter.is_ascii_graphic()).take(32).collect()
}

fn malformed(name: &str, reason: &'static str) -> QueryProblem {
    QueryProblem::Malformed(name.to_owned(), reason)
}

fn unacceptable(name: &str, reason: &'static str) -> QueryProblem {
    QueryProblem::Unacceptable(name.to_owned(), reason)
}

fn filter_value(name: &str, value: String) -> Result<String, QueryProblem> {
    if value.is_empty() || value.chars().count() > MAX_VALUE || value.chars().any(char::is_control) {
        return Err(unacceptable(name, "a value of 1 to 500 characters"));
    }
    Ok(value)
}

fn price(name: &str, text: &str, currency: Currency) -> Result<i64, QueryProblem> {
    let amount =
        Money::parse(text, currency).map_err(|_| unacceptable(name, "not an amount in the region's currency"))?;
    if amount.is_negative() { Err(unacceptable(name, "an amount below zero")) } else { Ok(amount.minor()) }
}

/// The words of a text. What cannot be seen or cannot be a letter becomes a gap; nothing left means no text.
fn words(text: &str) -> Result<Option<String>, QueryProblem> {
    if text.chars().count() > MAX_TEXT {
        return Err(QueryProblem::TooCostly("a query has at most 256 characters"));
    }
    let visible: String = text.chars().map(|letter| if is_invisible(letter) { ' ' } else { letter }).collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    if words.len() > MAX_WORDS {
        return Err(QueryProblem::TooCostly("a query has at most 16 words"));
    }
    // The index is never given patterns. Saying so is kinder than a silent search for the letters between the signs.
    if words.iter().any(|word| is_pattern(word)) {
        return Err(QueryProblem::TooCostly("wildcards and regular expressions cannot be searched for"));
    }
    Ok(if words.is_empty() { None } else { Some(words.join(" ")) })
}

/// Control characters, replacement of broken UTF-8, zero-width and direction marks.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{fffd}' | '\u{feff}' | '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// `*word` and `(a+)+`: a leading wildcard or a repeated group.
fn is_pattern(word: &str) -> bool {
    let wildcard = word.starts_with('*') && word.chars().any(char::is_alphanumeric);
    let repeated_group = [")+", ")*", "){"].iter().any(|signs| word.contains(signs));
    wildcard || repeated_group
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<SearchQuery, QueryProblem> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SearchQuery::parse(&pairs, Currency::Eur)
    }

    fn code(pairs: &[(&str, &str)]) -> &'static str {
        parse(pairs).err().map_or("accepted", |problem| problem.code())
    }

    #[test]
    fn a_full_query_is_read() {
        let query = parse(&[
            ("q", "  red\u{200b}shoes\u{0} "),
            ("category", "fashion/shoes"),
            ("brand", "Acme"),
            ("brand", "Emca"),
            ("attr.colour", "red"),
            ("price_min", "1"),
            ("price_max", "49.90"),
            ("sort", "price_asc"),
            ("limit", "5"),
            ("explain", "true"),
            ("utm_source", "mail"),
        ])
        .unwrap();
        assert_eq!(query.text.as_deref(), Some("red shoes"));
        assert_eq!(
            (query.filters.brands.len(), query.filters.price_min, query.filters.price_max),
            (2, Some(100), Some(4990))
        );
        assert_eq!((query.sort, query.limit, query.explain), (Sort::PriceAscending, 5, true));
        assert_eq!(parse(&[]).map(|query| (query.text, query.limit)), Ok((None, DEFAULT_LIMIT)));
    }

    #[test]
    fn costly_queries_are_refused() {
        let long = "x".repeat(10 * 1024);
        let many = "a ".repeat(17);
        let fuzzy = "a~ ".repeat(50);
        let nested = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        for text in [long.as_str(), &many, &fuzzy, &nested, "*leading", "(a+)+$"] {
            assert_eq!(code(&[("q", text)]), "query-too-costly", "{text}");
        }
        let filters: Vec<_> = (0..21).map(|number| format!("b{number}")).collect();
        let filters: Vec<_> = filters.iter().map(|brand| ("brand", brand.as_str())).collect();
        assert_eq!(code(&filters), "query-too-costly");
    }

    #[test]
    fn what_the_index_understands_is_not_a_parameter_here() {
        for (name, value) in [
            ("_source", "true"),
            ("size", "1000000000"),
            ("from", "10"),
            ("script", "1"),
            ("query", "{\"match_all\":{}}"),
            ("limit", "-1"),
            ("limit", "1.5"),
            ("limit", "1000000"),
            ("limit", "+5"),
            ("limit", "0"),
            ("explain", "maybe"),
            ("visitor_id", "x"),
        ] {
            assert_eq!(code(&[(name, value)]), "malformed-request", "{name}={value}");
        }
        assert_eq!(code(&[("q", "a"), ("q", "b")]), "malformed-request");
    }

    #[test]
    fn only_searchable_fields_sort_and_filter() {
        for (name, value) in [
            ("sort", "_score"),
            ("sort", "internal_margin"),
            ("attr.__proto__", "x"),
            ("attr.", "x"),
            ("attr.a.b", "x"),
            ("category", "../etc"),
            ("family", "toy"),
            ("price_min", "-1"),
            ("price_min", "1e400"),
            ("price_max", "1.999"),
        ] {
            assert_eq!(code(&[(name, value)]), "invalid-field", "{name}={value}");
        }
        assert_eq!(code(&[("price_min", "2"), ("price_max", "1")]), "invalid-field");
    }

    #[test]
    fn odd_texts_are_searched_for_or_mean_nothing() {
        for (text, expected) in [
            ("", None),
            ("\u{0}\u{202e}\u{fffd}", None),
            ("<b>tv</b>", Some("<b>tv</b>")),
            ("!!!", Some("!!!")),
            ("🎧", Some("🎧")),
            ("*", Some("*")),
        ] {
            assert_eq!(parse(&[("q", text)]).map(|query| query.text), Ok(expected.map(str::to_owned)), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_is_bound_to_what_was_asked() {
        let scope = |pairs: &[(&str, &str)]| parse(pairs).unwrap().scope();
        assert_eq!(scope(&[("q", "a"), ("limit", "5")]), scope(&[("limit", "7"), ("q", "a")]));
        assert_ne!(scope(&[("q", "a")]), scope(&[("q", "b")]));
        assert_ne!(scope(&[("q", "a")]), scope(&[("q", "a"), ("brand", "x")]));
        assert_ne!(scope(&[("q", "a")]), scope(&[("q", "a"), ("sort", "newest")]));
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_fall(name in ".{0,12}", value in ".{0,300}") {
            for name in [name.as_str(), "q", "brand", "attr.x", "price_min", "limit", "sort", "cursor"] {
                if let Ok(query) = parse(&[(name, &value)]) {
                    prop_assert!(query.limit <= MAX_LIMIT && query.filters.count() <= MAX_FILTERS);
                    prop_assert!(query.text.is_none_or(|text| text.split(' ').count() <= MAX_WORDS));
                }
            }
        }
    }
}
