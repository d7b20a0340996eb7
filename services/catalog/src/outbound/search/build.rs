//! How an index comes into being: a template for all versions, and an index that gets the alias once it is filled, be it the first one, the
//! next one when the mapping changes, or one in place of an index that was lost. Without the alias nobody takes an index that is being
//! filled for the shop: searches fail, and the stand-in answers them.
//!
//! Numbers only grow, and the index that was left is deleted last. So an older one beside the one in use says that a rebuild did not
//! finish. A newer one is being filled, or its building was killed: the two look alike, so it is left alone.

use std::time::Duration;

use std::collections::HashSet;

use anyhow::Context as _;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::Failure;
use super::{ElasticProducts, document, nothing};
use crate::domain::product::Revision;
use crate::domain::words::{Compounds, Tongue, lists};
use crate::usecases::ports::products::{Applied, IndexBuilder, IndexDown};

const DESCRIPTION: &str = include_str!("../../../../../migrations/catalog/elasticsearch/products.json");

/// The description with the lists of words that its analysers work with: the stand-in of each process works with the same.
fn description() -> Result<Value, serde_json::Error> {
    let mut description: Value = serde_json::from_str(DESCRIPTION)?;
    let filters = &mut description["settings"]["index"]["analysis"]["filter"];
    for tongue in Tongue::ALL {
        let (lists, code) = (lists(tongue), tongue.code());
        filters[format!("{code}_stop")]["stopwords"] = json!(sorted(&lists.small));
        filters[format!("{code}_same")]["synonyms"] = json!(lists.same);
        if !lists.elided.is_empty() {
            filters[format!("{code}_elision")]["articles"] = json!(lists.elided);
        }
        if !lists.parts.is_empty() {
            let parts = &mut filters[format!("{code}_parts")];
            parts["word_list"] = json!(sorted(&lists.parts));
            parts["min_word_size"] = json!(Compounds::SHORTEST_WORD);
            parts["min_subword_size"] = json!(Compounds::SHORTEST_PART);
            parts["max_subword_size"] = json!(Compounds::LONGEST_PART);
        }
    }
    Ok(description)
}

/// Equal lists are one text.
fn sorted(words: &HashSet<&'static str>) -> Vec<&'static str> {
    let mut words: Vec<&str> = words.iter().copied().collect();
    words.sort_unstable();
    words
}

/// Versions that are looked through for a free number; a shop rebuilds its index a few times a year.
const MAX_VERSION: u32 = 10_000;

/// What [`ElasticProducts::migrate`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    WasThere,
    /// `index` is in use, but whoever built it did not come to the end: the `former` ones are still beside it.
    Unfinished {
        index: String,
        former: Vec<String>,
    },
    /// There is no index yet, or no longer.
    Absent,
    /// The index was made for an older description and has to be built anew before it can be asked.
    Outdated,
}

impl ElasticProducts {
    /// Brings the template into being and says what else is there. Doing it again changes nothing but the template.
    ///
    /// # Errors
    /// What the server said.
    pub async fn migrate(&self) -> anyhow::Result<Prepared> {
        let description = description().context("products.json")?;
        let wanted = description["mappings"]["_meta"].clone();
        let template =
            json!({"index_patterns": [format!("{}-v*", self.alias)], "priority": 500, "template": description});
        self.client
            .put(&format!("_index_template/{}", self.alias), &template)
            .await
            .context("the index template is refused")?;
        if let Some(index) = self.current().await.context("the alias cannot be read")? {
            let there = self.client.get(&format!("{index}/_mapping")).await.context("the mapping cannot be read")?;
            if there[&index]["mappings"]["_meta"] != wanted {
                return Ok(Prepared::Outdated);
            }
            let former = self.older_than(&index).await.context("the indexes cannot be listed")?;
            return Ok(if former.is_empty() { Prepared::WasThere } else { Prepared::Unfinished { index, former } });
        }
        Ok(Prepared::Absent)
    }

    /// Indexes with a smaller number than that of `index`. Newer ones are told to the log.
    async fn older_than(&self, index: &str) -> Result<Vec<String>, Failure> {
        let Some(number) = self.number(index) else { return Ok(Vec::new()) };
        let mut older = Vec::new();
        for other in self.all().await? {
            match self.number(&other) {
                Some(others) if others < number => older.push(other),
                Some(others) if others > number => tracing::warn!(
                    search.index = %other,
                    "a search index that nobody reads is being filled or was left behind; if no rebuild is under way, delete it"
                ),
                Some(_) | None => {}
            }
        }
        Ok(older)
    }

    /// Every index of this alias, in use or not.
    async fn all(&self) -> Result<Vec<String>, Failure> {
        let listed = self.client.get(&format!("{}-v*/_alias", self.alias)).await?;
        Ok(listed.as_object().into_iter().flat_map(|indexes| indexes.keys().cloned()).collect())
    }

    /// As [`Self::migrate`], and an empty index where there is none: for tests and benches, which fill it through the alias.
    ///
    /// # Errors
    /// What the server said.
    pub async fn create(&self) -> anyhow::Result<()> {
        if self.migrate().await? == Prepared::Absent {
            let first = self.begin().await?;
            self.switch_to(&first).await?;
        }
        Ok(())
    }

    /// How long after its writing a document may stay hidden from searches, as the index in use has it. For benches.
    ///
    /// # Errors
    /// What the server said, or an interval that is not told in milliseconds or seconds.
    pub async fn refresh_interval(&self) -> anyhow::Result<Duration> {
        let answer = self.client.get(&format!("{}/_settings", self.alias)).await?;
        let settings = answer.as_object().and_then(|indexes| indexes.values().next());
        let told = settings.and_then(|own| own["settings"]["index"]["refresh_interval"].as_str());
        told.and_then(interval).with_context(|| format!("a refresh interval of {told:?}"))
    }

    /// The index behind the alias.
    async fn current(&self) -> Result<Option<String>, Failure> {
        match self.client.get(&format!("_alias/{}", self.alias)).await {
            Ok(answer) => Ok(answer.as_object().and_then(|indexes| indexes.keys().next().cloned())),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Moves the alias in one step, so that there is no moment without one.
    async fn switch(&self, to: &str, from: Option<&str>) -> Result<(), Failure> {
        let mut actions = vec![json!({"add": {"index": to, "alias": self.alias, "is_write_index": true}})];
        actions.extend(
            from.filter(|from| *from != to).map(|from| json!({"remove": {"index": from, "alias": self.alias}})),
        );
        self.client.post("_aliases", &json!({"actions": actions})).await.map(|_| ())
    }

    /// Deletes everything of this alias: indexes and template. For tests.
    ///
    /// # Errors
    /// What the server said.
    pub async fn drop_all(&self) -> anyhow::Result<()> {
        for index in self.all().await? {
            self.client.delete(&index).await?;
        }
        self.client.delete(&format!("_index_template/{}", self.alias)).await?;
        Ok(())
    }

    fn number(&self, index: &str) -> Option<u32> {
        index.strip_prefix(&self.alias)?.strip_prefix("-v")?.parse().ok()
    }
}

#[async_trait]
impl IndexBuilder for ElasticProducts {
    async fn begin(&self) -> Result<String, IndexDown> {
        let down = |failure: Failure| IndexDown(chassis::problem::chain(&failure));
        let current = self.current().await.map_err(down)?;
        let mut number = current.and_then(|index| self.number(&index)).unwrap_or(0) + 1;
        while number < MAX_VERSION {
            let index = format!("{}-v{number}", self.alias);
            match self.client.put(&index, &nothing()).await {
                Ok(_) => return Ok(index),
                // Left behind by a rebuild that did not end.
                Err(failure) if failure.says("resource_already_exists_exception") => number += 1,
                Err(failure) => return Err(down(failure)),
            }
        }
        Err(IndexDown("no free number for a new index".to_owned()))
    }

    async fn fill(&self, index: &str, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        self.write(index, revisions, document::bulk).await
    }

    async fn fill_again(&self, index: &str, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        self.write(index, revisions, document::renewal).await
    }

    async fn count(&self, index: &str) -> Result<usize, IndexDown> {
        let down = |failure: Failure| IndexDown(chassis::problem::chain(&failure));
        self.client.post(&format!("{index}/_refresh"), &Value::Null).await.map_err(down)?;
        let answer = self.client.get(&format!("{index}/_count")).await.map_err(down)?;
        let count = answer["count"].as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| IndexDown("a count without a number".to_owned()))
    }

    async fn switch_to(&self, index: &str) -> Result<Option<String>, IndexDown> {
        let down = |failure: Failure| IndexDown(chassis::problem::chain(&failure));
        let former = self.current().await.map_err(down)?;
        // What was filled is searchable before anybody looks.
        self.client.post(&format!("{index}/_refresh"), &Value::Null).await.map_err(down)?;
        self.switch(index, former.as_deref()).await.map_err(down)?;
        Ok(former.filter(|former| former != index))
    }

    async fn discard(&self, index: &str) -> Result<(), IndexDown> {
        match self.client.delete(index).await {
            Err(failure) if !failure.is_missing() => Err(IndexDown(chassis::problem::chain(&failure))),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// `500ms` or `1s`, as the index tells times.
fn interval(told: &str) -> Option<Duration> {
    match told.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => told.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_the_index_tells_them() {
        assert_eq!(interval("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(interval("1s"), Some(Duration::from_secs(1)));
        assert_eq!((interval("-1"), interval("1m"), interval("ms")), (None, None, None));
    }

    #[test]
    fn every_analyser_names_filters_that_have_their_words() {
        let description = description().unwrap();
        let analysis = &description["settings"]["index"]["analysis"];
        let named = |filter: &str| {
            let analysers = analysis["analyzer"].as_object().into_iter().flatten();
            let filters =
                analysers.flat_map(|(_, analyser)| analyser["filter"].as_array().cloned().unwrap_or_default());
            filters.filter(|name| name == filter).count()
        };
        for (filter, list) in [
            ("de_stop", "stopwords"),
            ("fr_stop", "stopwords"),
            ("en_stop", "stopwords"),
            ("de_same", "synonyms"),
            ("fr_same", "synonyms"),
            ("en_same", "synonyms"),
            ("de_parts", "word_list"),
            ("fr_elision", "articles"),
        ] {
            let words = analysis["filter"][filter][list].as_array().map_or(0, Vec::len);
            assert!(words > 0 && analysis["filter"][filter]["type"].is_string(), "{filter}");
            assert!(named(filter) > 0, "nobody uses {filter}");
        }
        assert_eq!(
            analysis["filter"].as_object().map(serde_json::Map::len),
            Some(12),
            "no filter came in by a wrong name"
        );
    }
}
