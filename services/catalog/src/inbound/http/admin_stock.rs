//! `POST /v1/admin/stock/receipts`: staff says what came in. The reference in the body is the key: the same reference with
//! the same lines counts once.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{Caller, Json};
use common::{FieldProblem, Sku};
use serde::{Deserialize, Serialize};

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
    let routes = Router::new().route("/v1/admin/stock/receipts", post(receive)).with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptBody {
    reference: String,
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
    caller.require_role("staff")?;
    let receipt = body.into_receipt().map_err(Problem::invalid_fields)?;
    let committed = receive_stock(&app, &receipt).await?;
    let repeated = committed == Committed::Repeated;
    tracing::info!(
        staff.id = %caller.user_id,
        receipt.reference = %receipt.reference(),
        receipt.lines = receipt.lines().len(),
        receipt.units = receipt.units(),
        repeated,
        "stock received"
    );
    Ok(Json(ReceiptAnswer { reference: receipt.reference().to_string(), lines: receipt.lines().len(), repeated }))
}

impl ReceiptBody {
    fn into_receipt(self) -> Result<Receipt, Vec<FieldProblem>> {
        let reference = ReceiptReference::parse(&self.reference).map_err(|error| vec![fault(error)])?;
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
        Receipt::new(reference, lines).map_err(|error| vec![fault(error)])
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
        let body = ReceiptBody { reference: reference.to_owned(), lines: lines.collect() };
        body.into_receipt().err().unwrap_or_default().into_iter().map(|fault| (fault.pointer, fault.code)).collect()
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
        let many: Vec<_> = (0..30).map(|_| ("", 1, "counted")).collect();
        assert_eq!(faults("r-1", &many).len(), MAX_FAULTS);
    }
}
