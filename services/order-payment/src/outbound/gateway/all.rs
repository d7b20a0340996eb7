//! All gateways of this site. A new attempt begins at the chosen one; an open attempt ends at the one it was begun with,
//! whichever is chosen now. So the choice can be changed at any time, and the other one stays wired until its last attempt has
//! ended.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::{Answer, Attempt, Call, Intent, Look, Via};
use crate::usecases::ports::Gateway;

pub struct Gateways {
    known: Vec<(Via, Arc<dyn Gateway>)>,
    chosen: Via,
}

impl Gateways {
    /// `first` is where new attempts begin, unless another one is chosen.
    pub fn new(via: Via, first: Arc<dyn Gateway>) -> Self {
        Self { chosen: via.clone(), known: vec![(via, first)] }
    }

    #[must_use]
    pub fn and(mut self, via: Via, gateway: Arc<dyn Gateway>) -> Self {
        self.known.push((via, gateway));
        self
    }

    /// New attempts begin at the gateway with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn choose(mut self, name: &str) -> anyhow::Result<Self> {
        let found = self.known.iter().find(|(via, _)| via.name == name);
        self.chosen = found.map(|(via, _)| via.clone()).ok_or_else(|| anyhow::anyhow!("no gateway is named {name}"))?;
        Ok(self)
    }

    fn named(&self, name: &str) -> Option<&dyn Gateway> {
        self.known.iter().find(|(via, _)| via.name == name).map(|(_, gateway)| &**gateway)
    }
}

fn unknown(name: &str) -> Answer {
    Answer::Misconfigured(format!("the gateway {name} of this attempt is not configured any more"))
}

#[async_trait]
impl Gateway for Gateways {
    fn choice(&self) -> Via {
        self.chosen.clone()
    }

    fn names(&self) -> Vec<String> {
        self.known.iter().map(|(via, _)| via.name.clone()).collect()
    }

    fn via(&self, name: &str) -> Option<Via> {
        self.known.iter().find(|(via, _)| via.name == name).map(|(via, _)| via.clone())
    }

    async fn send(&self, call: Call, attempt: &Attempt) -> Answer {
        match self.named(&attempt.via.name) {
            Some(gateway) => gateway.send(call, attempt).await,
            None => unknown(&attempt.via.name),
        }
    }

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer {
        match self.named(&attempt.via.name) {
            Some(gateway) => gateway.look(look, attempt).await,
            None => unknown(&attempt.via.name),
        }
    }

    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String> {
        Ok(self.made_between(from, to).await?.into_iter().map(|(_, intent)| intent).collect())
    }

    /// Of all of them, or of none: half a list looks like missing money.
    async fn made_between(&self, from: i64, to: i64) -> Result<Vec<(Via, Intent)>, String> {
        let mut made = Vec::new();
        for (via, gateway) in &self.known {
            let intents =
                gateway.intents_between(from, to).await.map_err(|reason| format!("{}: {reason}", via.name))?;
            made.extend(intents.into_iter().map(|intent| (via.clone(), intent)));
        }
        Ok(made)
    }

    async fn settlement(&self, name: &str, day: NaiveDate) -> Result<Option<bytes::Bytes>, String> {
        match self.named(name) {
            Some(gateway) => gateway.settlement(name, day).await,
            None => Err(format!("no gateway is named {name}")),
        }
    }
}
