//! What staff may say and see of the stock: what came in (`POST /v1/admin/stock/receipts`; the reference in the body is the
//! key, so the same reference with the same lines counts once), how much may be promised before it comes in
//! (`PUT /v1/admin/stock/{sku}/back-order-limit`), how much there is where (`GET /v1/admin/stock/{sku}`), and what became of
//! an order's lines (`GET /v1/admin/stock/reservations/{order_id}`).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use chassis::Problem;
use chassis::extract::{Caller, Json, Path};
use chrono::{DateTime, Utc};
use common::{FieldProblem, OrderId, Sku};
use serde::{Deserialize, Serialize};

use super::desk::Desk;
use crate::domain::centre::{Centre, Centres};
use crate::domain::inventory::SupplyKind;
use crate::domain::receipt::{InvalidReceipt, Receipt, ReceiptLine, ReceiptReference};
use crate::usecases::App;
use crate::usecases::ports::stock::Committed;
use crate::usecases::receive_stock::receive_stock;

/// 500 lines of a long SKU fit with room to spare.
const BODY_LIMIT_BYTES: usize = 128 * 1024;
/// Faults named in one answer; a sender that makes more finds the next ones on its next try.
const MAX_FAULTS: usize = 20;

pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/v1/admin/stock/receipts", post(receive))
        .route("/v1/admin/stock/reservations/{order_id}", get(reservation))
        .route("/v1/admin/stock/{sku}", get(stock))
        .route("/v1/admin/stock/{sku}/back-order-limit", put(limit))
        .with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptBody {
    reference: String,
    /// Where it came in; the region's first centre when nothing is said.
    fulfilment_centre: Option<String>,
    lines: Vec<ReceiptLineBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptLineBody {
    sku: String,
    quantity: u32,
    kind: String,
}

#[derive(Debug, Serialize)]
struct ReceiptAnswer {
    reference: String,
    lines: usize,
    /// The reference was counted before; nothing was changed now.
    repeated: bool,
}

async fn receive(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<ReceiptBody>,
) -> Result<Json<ReceiptAnswer>, Problem> {
    Desk::Stock.open_to(&caller)?;
    let receipt = body.into_receipt(&app.centres).map_err(Problem::invalid_fields)?;
    let committed = receive_stock(&app, &receipt, caller.user_id).await?;
    let repeated = committed == Committed::Repeated;
    tracing::info!(
        staff.id = %caller.user_id,
        receipt.reference = %receipt.reference(),
        receipt.fulfilment_centre = %receipt.centre(),
        receipt.lines = receipt.lines().len(),
        receipt.units = receipt.units(),
        repeated,
        "stock received"
    );
    Ok(Json(ReceiptAnswer { reference: receipt.reference().to_string(), lines: receipt.lines().len(), repeated }))
}

impl ReceiptBody {
    fn into_receipt(self, centres: &Centres) -> Result<Receipt, Vec<FieldProblem>> {
        let reference = ReceiptReference::parse(&self.reference).map_err(|error| vec![fault(error)])?;
        let centre = centre_of(self.fulfilment_centre.as_deref(), centres).map_err(|problem| vec![problem])?;
        let (mut lines, mut faults) = (Vec::with_capacity(self.lines.len()), Vec::new());
        for (index, line) in self.lines.into_iter().enumerate() {
            match line.into_line(index) {
                Ok(line) => lines.push(line),
                Err(problem) if faults.len() < MAX_FAULTS => faults.push(problem),
                Err(_) => break,
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Receipt::new(reference, centre, lines).map_err(|error| vec![fault(error)])
    }
}

impl ReceiptLineBody {
    fn into_line(self, index: usize) -> Result<ReceiptLine, FieldProblem> {
        let sku = Sku::parse(&self.sku)
            .map_err(|error| FieldProblem::new(format!("/lines/{index}/sku"), "format", error.to_string()))?;
        let kind = self
            .kind
            .parse::<SupplyKind>()
            .map_err(|error| FieldProblem::new(format!("/lines/{index}/kind"), "unknown", error.to_string()))?;
        Ok(ReceiptLine { sku, kind, quantity: self.quantity })
    }
}

/// The centre of that name, or the region's first.
pub(super) fn centre_of(name: Option<&str>, centres: &Centres) -> Result<Centre, FieldProblem> {
    let Some(name) = name else { return Ok(centres.first().clone()) };
    let named = Centre::parse(name).ok().filter(|centre| centres.contains(centre));
    named.ok_or_else(|| FieldProblem::new("/fulfilment_centre", "unknown", "not a fulfilment centre of this region"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitBody {
    limit: u32,
}

/// Far more than any delivery brings.
const MOST_BACK_ORDERS: u32 = Receipt::MAX_QUANTITY;

async fn limit(
    State(app): State<Arc<App>>,
    Path(sku): Path<String>,
    caller: Caller,
    Json(body): Json<LimitBody>,
) -> Result<Json<StockView>, Problem> {
    Desk::Stock.open_to(&caller)?;
    let sku = known(&sku)?;
    if body.limit > MOST_BACK_ORDERS {
        let problem = FieldProblem::new("/limit", "range", format!("at most {MOST_BACK_ORDERS}"));
        return Err(Problem::invalid_fields(vec![problem]));
    }
    app.stock.limit_back_orders(&sku, body.limit, caller.user_id).await?;
    tracing::info!(staff.id = %caller.user_id, %sku, limit = body.limit, "back-order limit set");
    view(&app, sku).await
}

async fn stock(
    State(app): State<Arc<App>>,
    Path(sku): Path<String>,
    caller: Caller,
) -> Result<Json<StockView>, Problem> {
    Desk::Stock.open_to(&caller)?;
    view(&app, known(&sku)?).await
}

/// A text that is no SKU names nothing.
fn known(text: &str) -> Result<Sku, Problem> {
    Sku::parse(text).map_err(|_| Problem::not_found())
}

#[derive(Debug, Serialize)]
struct StockView {
    sku: String,
    kind: &'static str,
    /// In order of preference; a centre without this SKU is absent.
    centres: Vec<CentreView>,
}

#[derive(Debug, Serialize)]
struct CentreView {
    fulfilment_centre: String,
    available: i64,
    held: i64,
    sold: i64,
    returned: i64,
    received: i64,
    back_ordered: i64,
    back_order_limit: i64,
}

async fn view(app: &App, sku: Sku) -> Result<Json<StockView>, Problem> {
    let mut rows = app.stock.rows(std::slice::from_ref(&sku)).await?;
    let rows = rows.remove(&sku).unwrap_or_default();
    let Some(kind) = rows.values().next().map(|row| row.kind.code()) else {
        return Err(Problem::not_found());
    };
    let mut centres: Vec<_> = rows.into_iter().collect();
    let preference = |centre: &Centre| app.centres.iter().position(|known| known == centre).unwrap_or(usize::MAX);
    centres.sort_by_key(|(centre, _)| preference(centre));
    let centres = centres.into_iter().map(|(centre, row)| CentreView {
        fulfilment_centre: centre.to_string(),
        available: row.available,
        held: row.held,
        sold: row.sold,
        returned: row.returned,
        received: row.received,
        back_ordered: row.back_ordered,
        back_order_limit: row.back_order_limit,
    });
    Ok(Json(StockView { sku: sku.to_string(), kind, centres: centres.collect() }))
}

#[derive(Debug, Serialize)]
struct ReservationView {
    order_id: String,
    status: &'static str,
    version: i64,
    held_until: DateTime<Utc>,
    pieces: Vec<PieceView>,
}

/// Units of a line in the centre they were taken from.
#[derive(Debug, Serialize)]
struct PieceView {
    sku: String,
    fulfilment_centre: String,
    quantity: u32,
    /// Promised before they came in and not there yet: their parcel waits.
    waiting: u32,
    returned: u32,
}

async fn reservation(
    State(app): State<Arc<App>>,
    Path(order): Path<String>,
    caller: Caller,
) -> Result<Json<ReservationView>, Problem> {
    Desk::Stock.open_to(&caller)?;
    let unknown = Problem::not_found;
    let order: OrderId = order.parse().map_err(|_| unknown())?;
    let found = app.stock.reservation(order).await?.ok_or_else(unknown)?;
    let pieces = found.pieces.into_iter().map(|piece| PieceView {
        sku: piece.sku.to_string(),
        fulfilment_centre: piece.centre.to_string(),
        quantity: piece.quantity,
        waiting: piece.waiting,
        returned: piece.returned,
    });
    Ok(Json(ReservationView {
        order_id: order.to_string(),
        status: found.status.code(),
        version: found.version,
        held_until: found.held_until,
        pieces: pieces.collect(),
    }))
}

fn fault(error: InvalidReceipt) -> FieldProblem {
    let (pointer, code) = match error {
        InvalidReceipt::Reference => ("/reference".to_owned(), "format"),
        InvalidReceipt::Count => ("/lines".to_owned(), "range"),
        InvalidReceipt::Quantity { index } | InvalidReceipt::NotCounted { index } => {
            (format!("/lines/{index}/quantity"), "range")
        }
        InvalidReceipt::Duplicate { index } => (format!("/lines/{index}/sku"), "duplicate"),
    };
    FieldProblem::new(pointer, code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(reference: &str, lines: &[(&str, u32, &str)]) -> Vec<(String, &'static str)> {
        let lines = lines.iter().map(|(sku, quantity, kind)| ReceiptLineBody {
            sku: (*sku).to_owned(),
            quantity: *quantity,
            kind: (*kind).to_owned(),
        });
        let body = ReceiptBody { reference: reference.to_owned(), fulfilment_centre: None, lines: lines.collect() };
        faults_of(body)
    }

    fn faults_of(body: ReceiptBody) -> Vec<(String, &'static str)> {
        let centres = Centres::new(Centre::parse("near").unwrap(), []);
        body.into_receipt(&centres)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|fault| (fault.pointer, fault.code))
            .collect()
    }

    #[test]
    fn every_field_at_fault_is_pointed_at() {
        assert_eq!(faults("r-1", &[("A", 1, "counted")]), []);
        assert_eq!(faults("", &[("A", 1, "counted")]), [("/reference".to_owned(), "format")]);
        assert_eq!(faults("r-1", &[]), [("/lines".to_owned(), "range")]);
        let both = [("/lines/0/sku".to_owned(), "format"), ("/lines/1/kind".to_owned(), "unknown")];
        assert_eq!(faults("r-1", &[("$set", 1, "counted"), ("B", 1, "Counted")]), both);
        assert_eq!(faults("r-1", &[("A", 1, "unlimited")]), [("/lines/0/quantity".to_owned(), "range")]);
        assert_eq!(
            faults("r-1", &[("A", 1, "counted"), ("A", 1, "counted")]),
            [("/lines/1/sku".to_owned(), "duplicate")]
        );
        for centre in ["far", "", "NEAR"] {
            let body = ReceiptBody {
                reference: "r-1".to_owned(),
                fulfilment_centre: Some(centre.to_owned()),
                lines: Vec::new(),
            };
            assert_eq!(faults_of(body), [("/fulfilment_centre".to_owned(), "unknown")]);
        }
        let many: Vec<_> = (0..30).map(|_| ("", 1, "counted")).collect();
        assert_eq!(faults("r-1", &many).len(), MAX_FAULTS);
    }
}
