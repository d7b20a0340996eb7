//! The catalog's prices, asked over gRPC from its write model.

use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::{Money, Sku};
use contracts::catalog::v1::price_service_client::PriceServiceClient;
use contracts::catalog::v1::{self, QuoteLine, QuoteRequest, QuoteResponse};
use tonic::{Code, Status};

use crate::domain::{BasketLine, CouponCode, CouponUse, Reduction};
use crate::usecases::error::PricesError;
use crate::usecases::ports::{CouponWord, Prices, Quote, Quoted};

/// The catalog answers one line within a few milliseconds and fifty within tens; a shopper waits this long at most before being
/// told to try again. Longer than the catalog's own patience with its store, so that its reason arrives here.
const DEADLINE: Duration = Duration::from_secs(4);

pub struct CatalogPrices {
    client: PriceServiceClient<chassis::grpc::Channel>,
    guard: Guard,
}

impl CatalogPrices {
    /// # Errors
    /// A malformed address. Nothing is connected yet.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client =
            PriceServiceClient::new(chassis::grpc::channel(url)?).max_decoding_message_size(chassis::grpc::MAX_MESSAGE);
        let guard = Guard::new("catalog-prices", GuardSettings { deadline: DEADLINE, ..GuardSettings::default() });
        Ok(Self { client, guard })
    }
}

#[async_trait]
impl Prices for CatalogPrices {
    async fn quote(&self, lines: &[BasketLine], coupon: Option<&CouponCode>) -> Result<Quote, PricesError> {
        let lines = lines.iter().map(|line| QuoteLine { sku: line.sku.to_string(), quantity: line.quantity }).collect();
        let request = QuoteRequest { lines, coupon: coupon.map(CouponCode::to_string).unwrap_or_default() };
        let asked = || async { self.client.clone().quote(request.clone()).await.map(tonic::Response::into_inner) };
        match self.guard.call_if(asked, chassis::grpc::is_fault).await {
            Ok(answer) => read(answer, coupon),
            // None of the products is sold here; the caller names the lines.
            Err(CallError::Failed(status)) if status.code() == Code::NotFound => Ok(Quote::default()),
            Err(error) => Err(PricesError::Unavailable(anyhow::anyhow!(describe(&error)))),
        }
    }
}

fn read(answer: QuoteResponse, code: Option<&CouponCode>) -> Result<Quote, PricesError> {
    let crooked = |what: &str| PricesError::Crooked(what.to_owned());
    let coupon = answer.coupon.zip(code).map(|(answer, code)| word(&answer, code));
    let mut quote = Quote { coupon, ..Quote::default() };
    for line in answer.lines {
        let sku = Sku::parse(&line.sku).map_err(|_| crooked("a SKU"))?;
        let wire = line.unit_price.ok_or_else(|| crooked("a line without a price"))?;
        let unit_price = Money::try_from(wire).map_err(|error| PricesError::Crooked(error.to_string()))?;
        let quoted = Quoted {
            name: line.name,
            family: line.family,
            unit_price,
            revision: line.revision,
            available: line.available,
            reductions: line.reductions.into_iter().map(reduction).collect::<Result<_, _>>()?,
        };
        quote.known.insert(sku, quoted);
    }
    Ok(quote)
}

fn reduction(wire: v1::Reduction) -> Result<Reduction, PricesError> {
    let amount = wire.amount.ok_or_else(|| PricesError::Crooked("a reduction without an amount".to_owned()))?;
    let amount = Money::try_from(amount).map_err(|error| PricesError::Crooked(error.to_string()))?;
    Ok(Reduction { promotion: wire.promotion, revision: wire.revision, amount })
}

/// A word that we do not know is no reduction that we could promise.
fn word(answer: &v1::CouponAnswer, code: &CouponCode) -> CouponWord {
    let limit = |most: u32| (most > 0).then_some(most);
    match answer.state() {
        v1::CouponState::Good => CouponWord::Good(CouponUse {
            code: code.clone(),
            revision: answer.revision,
            most_uses: limit(answer.most_uses),
            most_per_person: limit(answer.most_per_person),
        }),
        v1::CouponState::NotNow => CouponWord::NotNow,
        v1::CouponState::ReducesNothing => CouponWord::ReducesNothing,
        v1::CouponState::Unknown | v1::CouponState::Unspecified => CouponWord::Unknown,
    }
}

fn describe(error: &CallError<Status>) -> String {
    match error {
        CallError::Open { .. } => "the circuit is open".to_owned(),
        CallError::Deadline { .. } => "no answer in time".to_owned(),
        CallError::Failed(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}
