//! What a page reads.

use async_trait::async_trait;
use common::Sku;
use redis::{Pipeline, RedisResult, Value, from_redis_value};

use super::RedisStore;
use super::lists::read_list;
use crate::domain::recommend::Popular;
use crate::domain::{Person, Pseudonym, Seen};
use crate::outbound::codec;
use crate::usecases::ports::{Shelf, Shelves};
use crate::usecases::{Asked, Kept, StoreUnavailable};

#[async_trait]
impl Shelves for RedisStore {
    async fn person(&self, pseudonym: &Pseudonym) -> Result<Person, StoreUnavailable> {
        let mut pipe = redis::pipe();
        self.ask_person(&mut pipe, pseudonym);
        Ok(read_person(self.run(&pipe).await?.into_iter().next()))
    }

    async fn asked(&self, asked: &Asked) -> Result<(Person, Option<Kept>), StoreUnavailable> {
        let mut pipe = redis::pipe();
        self.ask_person(&mut pipe, &asked.who);
        self.ask_list(&mut pipe, asked);
        let mut answers = self.run(&pipe).await?.into_iter();
        let person = read_person(answers.next());
        Ok((person, read_list(answers.next())))
    }

    async fn lists(&self, shelves: &[Shelf], limit: usize, now_ms: i64) -> Result<Vec<Vec<Popular>>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        for shelf in shelves {
            pipe.cmd("ZREVRANGE").arg(self.keys.shelf(shelf, now_ms)).arg(0).arg(last(limit)).arg("WITHSCORES");
        }
        Ok(self.run(&pipe).await?.into_iter().map(popular).collect())
    }

    async fn active_categories(&self, limit: usize, now_ms: i64) -> Result<Vec<String>, StoreUnavailable> {
        let mut pipe = redis::pipe();
        pipe.cmd("ZREVRANGE").arg(self.keys.categories(now_ms)).arg(0).arg(last(limit));
        let answer = self.run(&pipe).await?.into_iter().next();
        Ok(answer.and_then(Result::ok).and_then(|value| from_redis_value(value).ok()).unwrap_or_default())
    }
}

impl RedisStore {
    fn ask_person(&self, pipe: &mut Pipeline, who: &Pseudonym) {
        pipe.cmd("MGET").arg(self.keys.profile(who)).arg(self.keys.recent(who));
    }
}

fn read_person(answer: Option<RedisResult<Value>>) -> Person {
    let blobs: Vec<Option<Vec<u8>>> = match answer {
        Some(Ok(value)) => from_redis_value(value).unwrap_or_default(),
        _ => Vec::new(),
    };
    let blob = |place: usize| blobs.get(place).and_then(Option::as_deref);
    Person {
        profile: blob(0).and_then(codec::decode_profile),
        recent: blob(1).map(codec::decode_recent).unwrap_or_default(),
        // Only who counts asks what was counted.
        seen: Seen::default(),
    }
}

/// Redis counts ranges with both ends in.
fn last(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX) - 1
}

/// A list that does not read, or a key of another type, is an empty list.
fn popular(answer: RedisResult<Value>) -> Vec<Popular> {
    let scored: Vec<(String, f64)> = answer.ok().and_then(|value| from_redis_value(value).ok()).unwrap_or_default();
    scored.into_iter().filter_map(|(sku, weight)| Some(Popular { sku: Sku::parse(&sku).ok()?, weight })).collect()
}
