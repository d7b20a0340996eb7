//! `/v1/me/addresses`: a person's address list, read and replaced as a whole.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Json, etag};
use http::HeaderMap;
use http::header::ETAG;
use serde::{Deserialize, Serialize};

use super::{Api, personal, present, problem};
use crate::domain::{Address, AddressForm};
use crate::usecases;
use crate::usecases::ports::AddressBook;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/v1/me/addresses", get(view).put(replace))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAddresses {
    items: Vec<NewAddress>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAddress {
    recipient: String,
    line1: String,
    #[serde(default, deserialize_with = "present")]
    line2: Option<String>,
    postal_code: String,
    city: String,
    country: String,
}

#[derive(Serialize)]
struct AddressList {
    items: Vec<AddressView>,
    page: Page,
}

#[derive(Serialize)]
struct AddressView {
    recipient: String,
    line1: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line2: Option<String>,
    postal_code: String,
    city: String,
    country: String,
}

/// Ten at most, so there never is a next page; the shape is that of every list.
#[derive(Serialize)]
struct Page {
    next_cursor: Option<&'static str>,
}

async fn view(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let book = usecases::view_addresses(&api.app, caller.user_id).await.map_err(problem)?;
    Ok(answer(book))
}

async fn replace(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<NewAddresses>,
) -> Result<Response, Problem> {
    let forms: Vec<_> = body.items.into_iter().map(AddressForm::from).collect();
    let book = usecases::change_addresses(&api.app, caller.user_id, etag::expected(&headers), &forms)
        .await
        .map_err(problem)?;
    Ok(answer(book))
}

fn answer(book: AddressBook) -> Response {
    let items = book.addresses.into_iter().map(AddressView::from).collect();
    personal(([(ETAG, etag::of(book.version))], Json(AddressList { items, page: Page { next_cursor: None } })))
}

impl From<NewAddress> for AddressForm {
    fn from(body: NewAddress) -> Self {
        Self {
            recipient: body.recipient,
            line1: body.line1,
            line2: body.line2,
            postal_code: body.postal_code,
            city: body.city,
            country: body.country,
        }
    }
}

impl From<Address> for AddressView {
    fn from(address: Address) -> Self {
        Self {
            recipient: address.recipient.into_open(),
            line1: address.line1.into_open(),
            line2: address.line2.map(common::Private::into_open),
            postal_code: address.postal_code.into_open(),
            city: address.city.into_open(),
            country: address.country,
        }
    }
}
