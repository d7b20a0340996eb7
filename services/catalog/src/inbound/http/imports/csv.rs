//! Products as a table: comma-separated values as in RFC 4180, in UTF-8, with a first line that names the columns. A line
//! changes what it has filled columns for (`Patch`); an empty cell leaves things as they are.
//!
//! Columns: `sku`, `family`, `category`, `brand`, `name.<language>`, `description.<language>`, `price.<currency>`,
//! `attribute.<key>` (`90 cm`: the unit after the last space where the column says so, as `attribute.<key>:unit`), `attributes`
//! (one `key=value` or `key=value|unit` on each line of the cell; what follows the last `|` is the unit, so a value that has one ends
//! with another: `ratio=4|3|`) and `images` (separated by spaces). What a table cannot say,
//! such as variants, prices for a time and attributes with line breaks, it leaves alone.

use common::FieldProblem;

use crate::domain::patch::Patch;
use crate::domain::product::Product;

/// Columns of one table: far more than languages, currencies and the attributes somebody edits at once.
const MOST_COLUMNS: usize = 300;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Sku,
    Family,
    Category,
    Brand,
    Name(String),
    Description(String),
    Price(String),
    Attribute { key: String, with_unit: bool },
    Attributes,
    Images,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(Vec<Column>);

impl Header {
    /// # Errors
    /// A column that is none, occurs twice, or no `sku`.
    pub fn read(record: &str) -> Result<Self, FieldProblem> {
        let problem = |message: &str| FieldProblem::new("", "invalid", message);
        let cells = cells(record.trim_start_matches('\u{feff}'))
            .ok_or_else(|| problem("the first line is no list of columns"))?;
        if cells.len() > MOST_COLUMNS {
            return Err(problem("a table has at most 300 columns"));
        }
        let mut columns = Vec::with_capacity(cells.len());
        for (place, cell) in cells.iter().enumerate() {
            let column =
                column(cell.trim()).ok_or_else(|| problem(&format!("column {} has an unknown name", place + 1)))?;
            if columns.contains(&column) {
                return Err(problem(&format!("column {} occurs twice", place + 1)));
            }
            columns.push(column);
        }
        if columns.contains(&Column::Sku) { Ok(Self(columns)) } else { Err(problem("a table needs the column sku")) }
    }

    /// # Errors
    /// A record that does not fit the columns.
    pub fn patch(&self, record: &str) -> Result<Patch, FieldProblem> {
        let problem = |message: &str| FieldProblem::new("", "invalid", message);
        let cells = cells(record).ok_or_else(|| problem("the quotes of this line do not match"))?;
        if cells.len() != self.0.len() {
            return Err(problem("this line has another number of cells than the first"));
        }
        let (mut patch, mut attributes) = (Patch::default(), Vec::<(String, String, Option<String>)>::new());
        // A column is there once; the keys of the cell of many are not known before it is read.
        let mut attribute = |key: &str, value: &str, unit: Option<&str>| {
            if attributes.iter().any(|(known, ..)| known == key) {
                return Err(problem("an attribute of this line is there twice"));
            }
            attributes.push((key.to_owned(), value.to_owned(), unit.map(str::to_owned)));
            Ok(())
        };
        for (column, cell) in self.0.iter().zip(cells) {
            let cell = without_guard(cell);
            if cell.is_empty() {
                continue;
            }
            match column {
                Column::Sku => patch.sku = cell,
                Column::Family => patch.family = Some(cell),
                Column::Category => patch.category = Some(cell),
                Column::Brand => patch.brand = Some(cell),
                Column::Name(language) => patch.names.push((language.clone(), cell)),
                Column::Description(language) => patch.descriptions.push((language.clone(), cell)),
                Column::Price(currency) => patch.prices.push((currency.clone(), cell)),
                Column::Attribute { key, with_unit: true } => match cell.rsplit_once(' ') {
                    Some((value, unit)) => attribute(key, value, Some(unit))?,
                    None => return Err(problem("an attribute of this line has no unit")),
                },
                Column::Attribute { key, with_unit: false } => attribute(key, &cell, None)?,
                Column::Attributes => {
                    for line in cell.lines().filter(|line| !line.trim().is_empty()) {
                        let (key, value) =
                            line.split_once('=').ok_or_else(|| problem("attributes are key=value lines"))?;
                        // Nothing after the line is the absence of a unit.
                        let (value, unit) = value.rsplit_once('|').unwrap_or((value, ""));
                        attribute(key.trim(), value, Some(unit).filter(|unit| !unit.is_empty()))?;
                    }
                }
                Column::Images => patch.images = Some(cell.split_whitespace().map(str::to_owned).collect()),
            }
        }
        patch.attributes = attributes;
        Ok(patch)
    }
}

fn column(name: &str) -> Option<Column> {
    let word = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(match name.split_once('.') {
        None => match name {
            "sku" => Column::Sku,
            "family" => Column::Family,
            "category" => Column::Category,
            "brand" => Column::Brand,
            "attributes" => Column::Attributes,
            "images" => Column::Images,
            _ => return None,
        },
        Some(("name", language)) => Column::Name(word(language)?),
        Some(("description", language)) => Column::Description(word(language)?),
        Some(("price", currency)) => Column::Price(word(currency)?),
        Some(("attribute", key)) => match key.strip_suffix(":unit") {
            Some(key) => Column::Attribute { key: word(key)?, with_unit: true },
            None => Column::Attribute { key: word(key)?, with_unit: false },
        },
        Some(_) => return None,
    })
}

/// Whether the quotes of what was read so far are closed, that is whether the record ends here.
pub fn is_complete(record: &str) -> bool {
    record.bytes().filter(|byte| *byte == b'"').count() % 2 == 0
}

/// The cells of a record; `None` when its quotes do not match.
fn cells(record: &str) -> Option<Vec<String>> {
    let mut cells = Vec::new();
    let mut rest = record.trim_end_matches(['\r', '\n']);
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (cell, after) = rest.split_at(end);
                if cell.contains('"') {
                    return None;
                }
                (cell.to_owned(), after)
            }
        };
        cells.push(cell);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(cells),
            None => return None,
        }
    }
}

/// The cell up to its closing quote, and what follows.
fn quoted_cell(text: &str) -> Option<(String, &str)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        cell.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                cell.push('"');
                rest = more;
            }
            None => return Some((cell, rest)),
        }
    }
}

/// A spreadsheet runs a cell that begins like a formula, also behind a tab or a line break; we write an apostrophe before it and
/// take it away again.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// Also where apostrophes of its own stand before it: else one of those would be taken away.
fn is_guarded(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(FORMULA)
}

fn without_guard(cell: String) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if is_guarded(rest) => rest.to_owned(),
        _ => cell,
    }
}

fn written(cell: &str, line: &mut String) {
    let guard = if is_guarded(cell) { "'" } else { "" };
    if guard.is_empty() && !cell.contains(['"', ',', '\n', '\r']) {
        line.push_str(cell);
    } else {
        line.push('"');
        line.push_str(guard);
        line.push_str(&cell.replace('"', "\"\""));
        line.push('"');
    }
}

/// The first line of an export: `languages` and `currencies` each get their columns.
pub fn header(languages: &[&str], currencies: &[&str]) -> String {
    let mut names = ["sku", "family", "category", "brand"].map(str::to_owned).to_vec();
    for language in languages {
        names.push(format!("name.{language}"));
        names.push(format!("description.{language}"));
    }
    names.extend(currencies.iter().map(|currency| format!("price.{currency}")));
    names.extend(["attributes".to_owned(), "images".to_owned()]);
    names.join(",") + "\r\n"
}

/// The line of a product under [`header`].
pub fn line(product: &Product, languages: &[&str], currencies: &[&str]) -> String {
    let mut texts = vec![
        product.sku.to_string(),
        product.family.code().to_owned(),
        product.category.to_string(),
        product.brand.clone(),
    ];
    for language in languages {
        let text = product.texts.iter().find(|text| text.language == *language);
        texts.push(text.map(|text| text.name.clone()).unwrap_or_default());
        texts.push(text.map(|text| text.description.clone()).unwrap_or_default());
    }
    for currency in currencies {
        let price = product.prices.usual().find(|price| price.currency().code() == *currency);
        texts.push(price.map(|price| price.amount_string()).unwrap_or_default());
    }
    let attribute = |attribute: &crate::domain::product::Attribute| match &attribute.unit {
        Some(unit) => format!("{}={}|{unit}", attribute.key, attribute.value),
        None if attribute.value.contains('|') => format!("{}={}|", attribute.key, attribute.value),
        None => format!("{}={}", attribute.key, attribute.value),
    };
    let on_one_line = product.attributes.iter().filter(|attribute| !attribute.value.contains(['\n', '\r']));
    texts.push(on_one_line.map(attribute).collect::<Vec<_>>().join("\n"));
    texts.push(product.images.join(" "));
    let mut line = String::new();
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        written(text, &mut line);
    }
    line + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draft::{AttributeDraft, ProductDraft, TextDraft};

    #[test]
    fn a_line_changes_what_it_has_columns_for() {
        let header = Header::read("\u{feff}sku,price.EUR,name.en,attribute.width:unit,attributes,images").unwrap();
        let patch = header.patch("A,1.50,\"A \"\"b\"\", c\",90 cm,\"x=1|g\ny=2\",/a.png /b.png\r").unwrap();
        let expected = Patch {
            sku: "A".to_owned(),
            prices: vec![("EUR".to_owned(), "1.50".to_owned())],
            names: vec![("en".to_owned(), "A \"b\", c".to_owned())],
            attributes: vec![
                ("width".to_owned(), "90".to_owned(), Some("cm".to_owned())),
                ("x".to_owned(), "1".to_owned(), Some("g".to_owned())),
                ("y".to_owned(), "2".to_owned(), None),
            ],
            images: Some(vec!["/a.png".to_owned(), "/b.png".to_owned()]),
            ..Patch::default()
        };
        assert_eq!(patch, expected);
        assert_eq!(header.patch("A,,,,,").unwrap(), Patch { sku: "A".to_owned(), ..Patch::default() });
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        for header in ["", "price.EUR", "sku,sku", "sku,price.", "sku,colour", "sku,\"x", &"sku,".repeat(301)] {
            assert!(Header::read(header).is_err(), "{header:.20}");
        }
        let header = Header::read("sku,price.EUR").unwrap();
        for record in ["A", "A,1,2", "A,\"1", "A,1\"", "A,\"1\"2", "\"A\" ,1"] {
            assert!(header.patch(record).is_err(), "{record}");
        }
    }

    #[test]
    fn an_attribute_that_is_there_twice_is_refused_wherever_it_stands() {
        let header = Header::read("sku,attribute.size,attributes").unwrap();
        assert!(header.patch("A,M,\"cut=slim\nfit=loose\"").is_ok());
        assert!(header.patch("A,,\"size=M\"").is_ok(), "an empty cell says nothing");
        for record in ["A,M,size=L", "A,M,\" size =M\"", "A,,\"cut=slim\ncut=slim\"", "A,,\"cut=slim\ncut=loose|cm\""] {
            assert!(header.patch(record).is_err(), "{record}");
        }
    }

    #[test]
    fn a_record_ends_where_its_quotes_are_closed() {
        assert!(is_complete("a,\"b\"\"c\",d") && !is_complete("a,\"b\n") && is_complete(""));
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_guarded_and_comes_back() {
        let mut line = String::new();
        written("=HYPERLINK(\"x\")", &mut line);
        assert_eq!(line, "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(without_guard(cells(&line).unwrap().remove(0)), "=HYPERLINK(\"x\")");
        assert_eq!(without_guard("'tis".to_owned()), "'tis");
        for cell in ["=1", "'=1", "''=1", "\t=1", "\r\n=1", "-1", "+1", "@x", "'\tx", "'tis", "'", "", "a\t=1"] {
            let mut line = String::new();
            written(cell, &mut line);
            let there = cells(&line).unwrap().remove(0);
            assert!(!there.starts_with(FORMULA), "a spreadsheet would run {there:?}");
            assert_eq!(without_guard(there), cell, "{line}");
        }
    }

    #[test]
    fn what_a_product_says_comes_back_from_its_line() {
        let value = |key: &str, value: &str, unit: Option<&str>| AttributeDraft {
            key: key.to_owned(),
            value: value.to_owned(),
            unit: unit.map(str::to_owned),
        };
        let draft = ProductDraft {
            sku: "A".to_owned(),
            family: "gadget".to_owned(),
            category: "audio".to_owned(),
            brand: "'=x".to_owned(),
            texts: vec![TextDraft {
                language: "en".to_owned(),
                name: "\t=1".to_owned(),
                description: "a\nb".to_owned(),
            }],
            prices: vec![("EUR".to_owned(), "1.50".to_owned())],
            attributes: vec![
                value("ratio", "4|3", None),
                value("ends", "x|", None),
                value("size", "4|3", Some("cm")),
                value("odd", "a=b", None),
                value("plain", "5", Some("mm")),
            ],
            ..ProductDraft::default()
        };
        let product = draft.check("").unwrap();
        let header = Header::read(&header(&["en"], &["EUR"])).unwrap();
        let patch = header.patch(&line(&product, &["en"], &["EUR"])).unwrap();
        assert_eq!(patch.onto(None).check(""), Ok(product.clone()));
        let mut broken = product;
        broken.attributes[1].value = "two\nplain=6".to_owned();
        let patch = header.patch(&line(&broken, &["en"], &["EUR"])).unwrap();
        assert_eq!(patch.onto(Some(&broken)).check(""), Ok(broken), "what has no place in a cell is left alone");
    }
}
