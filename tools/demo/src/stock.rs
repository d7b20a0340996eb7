//! Goods that come in: receipts through the admin API, in pieces that one request takes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Api;
use crate::generate::{Supply, spread};
use crate::shopper::Shopper;

/// Lines of one receipt; the shop takes no more.
const LINES: usize = 500;

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptLine {
    pub sku: String,
    pub quantity: u32,
    pub kind: &'static str,
}

impl ReceiptLine {
    pub fn of(sku: &str, supply: Supply) -> Self {
        let (kind, quantity) = match supply {
            Supply::MadeToOrder => ("made_to_order", 0),
            Supply::Serialised(units) => ("serialised", units),
            Supply::Counted(units) => ("counted", units),
            Supply::Unlimited => ("unlimited", 0),
        };
        Self { sku: sku.to_owned(), quantity, kind }
    }
}

/// Books the lines; returns how many receipts were new. The reference of each receipt says what is in it, so that booking the
/// same lines again finds the first booking.
///
/// # Errors
/// The shop refuses.
pub async fn receive(api: &Api, staff: &Shopper, reference: &str, lines: &[ReceiptLine]) -> anyhow::Result<usize> {
    let mut new = 0;
    for piece in lines.chunks(LINES) {
        let list: Vec<Value> =
            piece.iter().map(|line| json!({"sku": line.sku, "quantity": line.quantity, "kind": line.kind})).collect();
        let content = Value::from(list);
        let reference = format!("{reference}-{:08x}", spread(&content.to_string()));
        let body = json!({"reference": reference, "lines": content});
        let reply = staff.call(api, Method::POST, "/v1/admin/stock/receipts", None, Some(&body)).await?;
        let answer = reply.success("stock receipt")?;
        new += usize::from(answer["repeated"] == Value::Bool(false));
    }
    Ok(new)
}
