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
const SYNONYM: [f64; 3] = [0.0, 0.6, 0.8];
const KIND: [f64; 3] = [0.0, 0.2, 0.3];
const TOGETHER: [f64; 2] = [0.0, 0.5];
const MAKER: [f64; 5] = [0.0, 0.2, 0.3, 0.5, 0.8];

/// # Errors
/// The index does not answer.
pub async fn tune(index: &ElasticProducts, questions: &[Question]) -> anyhow::Result<Vec<String>> {
    let folds = folds(questions);
    // The others say the same of any weights; those with a maker are nearly all made, and no other class tells what naming one is worth.
    let (questions, folds): (Vec<&Question>, Vec<usize>) = questions
        .iter()
        .zip(folds)
        .filter(|(question, _)| is_mixed(&question.ratings) && (!question.made || question.class == "brand"))
        .unzip();
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
    let asked = |at: &usize| !questions[*at].made;
    let mut facts = vec![format!(
        "cross-validated over {FOLDS} folds, {} combinations of weights, by {} mixed queries and {} with a maker before them: nDCG@10 {:.3} and {:.3} on those not used to choose them; chosen: {}",
        scores.len(),
        (0..questions.len()).filter(|at| asked(at)).count(),
        (0..questions.len()).filter(|at| !asked(at)).count(),
        average(&unseen, &asked),
        average(&unseen, &|at| !asked(at)),
        won.iter().map(|(weights, count)| format!("{weights} ({count} of {FOLDS})")).collect::<Vec<_>>().join(", ")
    )];
    let shipped = Weights::default();
    for (what, weights) in [
        ("shipped weights", shipped),
        ("without words of the same meaning", Weights { synonym: 0.0, ..shipped }),
        ("without kinds", Weights { kind: 0.0, ..shipped }),
        ("without words standing together", Weights { together: 0.0, ..shipped }),
        ("without the maker", Weights { maker: 0.0, ..shipped }),
        ("words alone", Weights { synonym: 0.0, kind: 0.0, together: 0.0, maker: 0.0 }),
    ] {
        if let Some((_, scores)) = scores.iter().find(|(other, _)| *other == weights) {
            let (mixed, with_maker) = (average(scores, &asked), average(scores, &|at| !asked(at)));
            facts.push(format!("{what}, {}: mixed nDCG@10 {mixed:.3}, with a maker {with_maker:.3}", told(weights)));
        }
    }
    Ok(facts)
}

fn all() -> Vec<Weights> {
    let mut all = Vec::new();
    for synonym in SYNONYM {
        for kind in KIND {
            for together in TOGETHER {
                all.extend(MAKER.map(|maker| Weights { synonym, kind, together, maker }));
            }
        }
    }
    all
}

fn told(Weights { synonym, kind, together, maker }: Weights) -> String {
    format!("synonym {synonym} kind {kind} together {together} maker {maker}")
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

/// Queries that are one but for their plural, or for the maker put before one, share a fold: knowing one answer is knowing the
/// other.
fn folds(questions: &[Question]) -> Vec<usize> {
    let asked: BTreeMap<&str, &str> = questions.iter().map(|one| (one.id.as_str(), one.text.as_str())).collect();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    questions
        .iter()
        .map(|question| {
            // A made question is named after the one it was made from.
            let from = question.id.split('~').next().and_then(|id| asked.get(id));
            let text = from.copied().unwrap_or(&question.text);
            let stem: Vec<&str> = text.split_whitespace().map(|word| word.trim_end_matches('s')).collect();
            let next = known.len();
            *known.entry(stem.join(" ")).or_insert(next) % FOLDS
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_its_plural_and_what_was_made_from_it_are_in_one_fold() {
        let question = |(id, text): (&str, &str)| Question {
            id: id.to_owned(),
            text: text.to_owned(),
            class: "words",
            made: id.contains('~'),
            ratings: BTreeMap::new(),
        };
        let all = [
            ("1", "lamp"),
            ("2", "bluetooth speaker"),
            ("2~brand", "acme bluetooth speaker"),
            ("3", "desk"),
            ("4", "bluetooth speakers"),
        ];
        let folds = folds(&all.map(question));
        assert_eq!(folds[1], folds[2]);
        assert_eq!(folds[1], folds[4]);
        assert_ne!(folds[0], folds[1]);
    }

    #[test]
    fn the_shipped_weights_are_among_those_that_are_tried() {
        assert!(all().contains(&Weights::default()));
    }
}
