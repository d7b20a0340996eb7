//! `POST /v1/admin/stock/corrections`: what a count of the shelves found or missed, and why. The reference in the body is the key,
//! as for receipts and in one space of names with theirs.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{Caller, Json};
use common::{FieldProblem, Sku};
use serde::{Deserialize, Serialize};

use super::admin_stock::centre_of;
use super::desk::Desk;
use crate::domain::centre::Centres;
use crate::domain::correction::{Correction, CorrectionLine, InvalidCorrection};
use crate::domain::receipt::ReceiptReference;
use crate::usecases::App;
use crate::usecases::correct_stock::correct_stock;
use crate::usecases::ports::stock::{Committed, StoreError};

/// 500 lines of a long SKU and a long reason fit with room to spare.
const BODY_LIMIT_BYTES: usize = 128 * 1024;
/// Faults named in one answer; a sender that makes more finds the next ones on its next try.
const MAX_FAULTS: usize = 20;

pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new().route("/v1/admin/stock/corrections", post(correct)).with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CorrectionBody {
    reference: String,
    /// Where it was counted; the region's first centre when nothing is said.
    fulfilment_centre: Option<String>,
    reason: String,
    lines: Vec<LineBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineBody {
    sku: String,
    /// Units found, or missed when below zero.
    change: i64,
}

#[derive(Debug, Serialize)]
struct CorrectionAnswer {
    reference: String,
    lines: usize,
    found: u64,
    missed: u64,
    /// The reference was booked before; nothing was changed now.
    repeated: bool,
}

async fn correct(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<CorrectionBody>,
) -> Result<Json<CorrectionAnswer>, Problem> {
    Desk::Stock.open_to(&caller)?;
    let reason = operations::reason(&body.reason)?;
    let asked: Vec<String> = body.lines.iter().map(|line| line.sku.clone()).collect();
    let correction = body.into_correction(reason, &app.centres).map_err(Problem::invalid_fields)?;
    let committed = correct_stock(&app, &correction, caller.user_id).await.map_err(|error| refused(error, &asked))?;
    let (repeated, (found, missed)) = (committed == Committed::Repeated, correction.units());
    tracing::info!(
        staff.id = %caller.user_id,
        correction.reference = %correction.reference(),
        correction.fulfilment_centre = %correction.centre(),
        correction.lines = correction.lines().len(),
        found,
        missed,
        repeated,
        "stock corrected"
    );
    let (reference, lines) = (correction.reference().to_string(), correction.lines().len());
    Ok(Json(CorrectionAnswer { reference, lines, found, missed, repeated }))
}

impl CorrectionBody {
    fn into_correction(self, reason: String, centres: &Centres) -> Result<Correction, Vec<FieldProblem>> {
        let reference = ReceiptReference::parse(&self.reference)
            .map_err(|error| vec![FieldProblem::new("/reference", "format", error.to_string())])?;
        let centre = centre_of(self.fulfilment_centre.as_deref(), centres).map_err(|problem| vec![problem])?;
        let (mut lines, mut faults) = (Vec::with_capacity(self.lines.len()), Vec::new());
        for (index, LineBody { sku, change }) in self.lines.into_iter().enumerate() {
            match Sku::parse(&sku) {
                Ok(sku) => lines.push(CorrectionLine { sku, change }),
                Err(error) if faults.len() < MAX_FAULTS => {
                    faults.push(FieldProblem::new(format!("/lines/{index}/sku"), "format", error.to_string()));
                }
                Err(_) => break,
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Correction::new(reference, centre, reason, lines).map_err(|error| vec![fault(error)])
    }
}

/// A SKU that never came in there is a field at fault, not an address.
fn refused(error: StoreError, asked: &[String]) -> Problem {
    match error {
        StoreError::UnknownSku(sku) => {
            let index = asked.iter().position(|asked| *asked == sku.as_str()).unwrap_or(0);
            let problem = FieldProblem::new(format!("/lines/{index}/sku"), "unknown", "it never came in there");
            Problem::invalid_fields(vec![problem])
        }
        other => other.into(),
    }
}

fn fault(error: InvalidCorrection) -> FieldProblem {
    let (pointer, code) = match error {
        InvalidCorrection::Count => ("/lines".to_owned(), "range"),
        InvalidCorrection::Change { index } => (format!("/lines/{index}/change"), "range"),
        InvalidCorrection::Duplicate { index } => (format!("/lines/{index}/sku"), "duplicate"),
    };
    FieldProblem::new(pointer, code, error.to_string())
}
