//! Chooses the weights of the shop's relevance by cross-validation: each fold of the judged queries is scored with the weights
//! that were best on the other folds. What comes out is an estimate for queries that nobody has seen, and how often each weight
//! won. It changes nothing: a person writes the weights into the code.

use std::collections::BTreeMap;

use catalog::domain::search_query::SearchQuery;
use catalog::outbound::search::{ElasticProducts, Weights};
use catalog::usecases::ports::products::{Page, ProductIndex as _};
use common::Currency;
use xtask::bench::quality::measures::{is_mixed, mean, measure};

use crate::baseline::DEEP;
use crate::ours::id;
use crate::questions::Question;

const FOLDS: usize = 5;
const SYNONYM: [f64; 4] = [0.0, 0.4, 0.6, 0.8];
const KIND: [f64; 4] = [0.0, 0.1, 0.2, 0.3];
const TOGETHER: [f64; 4] = [0.0, 0.2, 0.5, 1.0];

/// # Errors
/// The index does not answer.
pub async fn tune(index: &ElasticProducts, questions: &[Question]) -> anyhow::Result<Vec<String>> {
    // The others say the same of any weights.
    let questions: Vec<&Question> =
        questions.iter().filter(|question| !question.made && is_mixed(&question.ratings)).collect();
    let folds = folds(&questions);
    let mut scores: Vec<(Weights, Vec<f64>)> = Vec::new();
    for weights in all() {
        scores.push((weights, score(&index.clone().weighing(weights), &questions).await?));
    }
    let average = |scores: &[f64], chosen: &dyn Fn(&usize) -> bool| {
        mean((0..questions.len()).filter(|at| chosen(at)).map(|at| scores[at]))
    };
    let mut unseen = vec![0.0; questions.len()];
    let mut won: BTreeMap<String, usize> = BTreeMap::new();
    for fold in 0..FOLDS {
        let best = scores
            .iter()
            .max_by(|(_, one), (_, other)| {
                average(one, &|at| folds[*at] != fold).total_cmp(&average(other, &|at| folds[*at] != fold))
            })
            .ok_or_else(|| anyhow::anyhow!("no weights to try"))?;
        *won.entry(told(best.0)).or_default() += 1;
        for at in (0..questions.len()).filter(|at| folds[*at] == fold) {
            unseen[at] = best.1[at];
        }
    }
    let everything = |_: &usize| true;
    let mut facts = vec![format!(
        "cross-validated over {FOLDS} folds, {} combinations of weights: mixed nDCG@10 {:.3} on queries not used to choose them; chosen: {}",
        scores.len(),
        average(&unseen, &everything),
        won.iter().map(|(weights, count)| format!("{weights} ({count} of {FOLDS})")).collect::<Vec<_>>().join(", ")
    )];
    let shipped = Weights::default();
    for (what, weights) in [
        ("shipped weights", shipped),
        ("without words of the same meaning", Weights { synonym: 0.0, ..shipped }),
        ("without kinds", Weights { kind: 0.0, ..shipped }),
        ("without words standing together", Weights { together: 0.0, ..shipped }),
        ("words alone", Weights { synonym: 0.0, kind: 0.0, together: 0.0 }),
    ] {
        if let Some((_, scores)) = scores.iter().find(|(other, _)| *other == weights) {
            facts.push(format!("{what}, {}: mixed nDCG@10 {:.3}", told(weights), average(scores, &everything)));
        }
    }
    Ok(facts)
}

fn all() -> Vec<Weights> {
    let mut all = Vec::new();
    for synonym in SYNONYM {
        for kind in KIND {
            all.extend(TOGETHER.map(|together| Weights { synonym, kind, together }));
        }
    }
    all
}

fn told(Weights { synonym, kind, together }: Weights) -> String {
    format!("synonym {synonym} kind {kind} together {together}")
}

async fn score(index: &ElasticProducts, questions: &[&Question]) -> anyhow::Result<Vec<f64>> {
    let mut scores = Vec::with_capacity(questions.len());
    for question in questions {
        let query = SearchQuery::parse(&[("q".to_owned(), question.text.clone())], Currency::Eur)?;
        let found = index.search(Page { query: &query, language: "en", from: 0, size: DEEP }).await?;
        let ranked: Vec<String> = found.hits.iter().filter_map(|hit| id(hit.product.sku.as_str())).collect();
        scores.push(measure(&question.ratings, &ranked).ndcg);
    }
    Ok(scores)
}

/// Queries that are one but for their plural share a fold: knowing one answer is knowing the other.
fn folds(questions: &[&Question]) -> Vec<usize> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    questions
        .iter()
        .map(|question| {
            let stem: Vec<&str> = question.text.split_whitespace().map(|word| word.trim_end_matches('s')).collect();
            let next = known.len();
            *known.entry(stem.join(" ")).or_insert(next) % FOLDS
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_and_plural_are_in_one_fold() {
        let question = |text: &str| Question {
            id: String::new(),
            text: text.to_owned(),
            class: "words",
            made: false,
            ratings: BTreeMap::new(),
        };
        let all = ["lamp", "bluetooth speaker", "desk", "bluetooth speakers"].map(question);
        let folds = folds(&all.iter().collect::<Vec<_>>());
        assert_eq!(folds[1], folds[3]);
        assert_ne!(folds[0], folds[1]);
    }

    #[test]
    fn the_shipped_weights_are_among_those_that_are_tried() {
        assert!(all().contains(&Weights::default()));
    }
}
