//! PriceService: answers order-payment before it takes an order. Translates; the use case answers.

use std::sync::Arc;

use common::{ErrorKind, Explain, Sku};
use contracts::catalog::v1::price_service_server::{PriceService, PriceServiceServer};
use contracts::catalog::v1::{self, QuoteRequest, QuoteResponse};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::domain::discount::Cut;
use crate::domain::lines::Line;
use crate::usecases::App;
use crate::usecases::quote::{CouponAnswer, Quote, quote};

pub fn routes(app: Arc<App>) -> Routes {
    Routes::new(PriceServiceServer::new(Prices { app }).max_decoding_message_size(chassis::grpc::MAX_MESSAGE))
}

struct Prices {
    app: Arc<App>,
}

#[derive(Debug, thiserror::Error)]
#[error("lines[{index}].sku is not a SKU")]
struct NotASku {
    index: usize,
}

impl Explain for NotASku {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unprocessable
    }

    fn code(&self) -> &'static str {
        "invalid-field"
    }
}

#[tonic::async_trait]
impl PriceService for Prices {
    async fn quote(&self, request: Request<QuoteRequest>) -> Result<Response<QuoteResponse>, Status> {
        let request = request.into_inner();
        let lines = lines(&request).map_err(|error| chassis::grpc::status(&error))?;
        let coupon = (!request.coupon.is_empty()).then_some(request.coupon.as_str());
        match quote(&self.app, lines, coupon).await {
            Ok(quote) => Ok(Response::new(to_wire(quote))),
            Err(error) => Err(chassis::grpc::status(&error)),
        }
    }
}

fn lines(request: &QuoteRequest) -> Result<Vec<Line>, NotASku> {
    let line = |(index, line): (usize, &v1::QuoteLine)| {
        let sku = Sku::parse(&line.sku).map_err(|_| NotASku { index })?;
        Ok(Line { sku, quantity: line.quantity })
    };
    request.lines.iter().enumerate().map(line).collect()
}

fn to_wire(quote: Quote) -> QuoteResponse {
    let lines = quote.lines.into_iter().map(|quoted| v1::QuotedLine {
        sku: quoted.line.sku.to_string(),
        quantity: quoted.line.quantity,
        name: quoted.name,
        family: quoted.family.to_owned(),
        unit_price: Some(quoted.unit_price.into()),
        available: quoted.available,
        revision: quoted.revision,
        reductions: quoted.cuts.into_iter().map(reduction).collect(),
    });
    QuoteResponse {
        lines: lines.collect(),
        unknown_skus: quote.unknown.iter().map(Sku::to_string).collect(),
        coupon: quote.coupon.map(coupon),
    }
}

fn reduction(cut: Cut) -> v1::Reduction {
    v1::Reduction { promotion: cut.promotion.to_string(), revision: cut.revision, amount: Some(cut.amount.into()) }
}

fn coupon(answer: CouponAnswer) -> v1::CouponAnswer {
    let only = |state: v1::CouponState| v1::CouponAnswer { state: state.into(), ..v1::CouponAnswer::default() };
    match answer {
        CouponAnswer::Good { revision, most_uses, most_per_person } => v1::CouponAnswer {
            state: v1::CouponState::Good.into(),
            revision,
            most_uses: most_uses.unwrap_or(0),
            most_per_person: most_per_person.unwrap_or(0),
        },
        CouponAnswer::Unknown => only(v1::CouponState::Unknown),
        CouponAnswer::NotNow => only(v1::CouponState::NotNow),
        CouponAnswer::ReducesNothing => only(v1::CouponState::ReducesNothing),
    }
}
