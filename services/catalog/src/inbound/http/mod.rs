//! What shoppers and staff may ask over HTTP. Each file is one folder of the address space and has its own `router()`.
//!
//! Decided here: who counts as the shopper of a page. A browser that objects to being watched is nobody, whatever `visitor_id` it
//! gives. A token that is wrong is refused, as everywhere; but when the session store cannot be asked, a page that anybody may see
//! is shown as to anybody.

mod admin_corrections;
mod admin_families;
mod admin_labels;
mod admin_prices;
mod admin_products;
mod admin_promotions;
mod admin_stock;
mod desk;
pub mod finished;
mod imports;
mod pages;
mod pictures;
mod product_body;
mod products;
mod search;
pub mod strip;
mod view;

use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::FromRequestParts;
use chassis::Problem;
use chassis::extract::{MaybeCaller, objects};
use common::{ErrorKind, VisitorId};
use http::request::Parts;

use self::finished::{PageSettings, Pages};
use crate::usecases::App;
use crate::usecases::personalise::{Consent, Shopper};

/// All routes of the public port, over pages of the default size.
pub fn router(app: Arc<App>) -> Router {
    router_over(Pages::new(app.clone(), PageSettings::default()), app)
}

/// All routes of the public port, over the pages that this process keeps.
pub fn router_over(pages: Arc<Pages>, app: Arc<App>) -> Router {
    // By its own type first: a weak pointer to a trait is made from a weak pointer to a type.
    let listener: Weak<Pages> = Arc::downgrade(&pages);
    app.products.cache.tell(listener);
    Router::new()
        .merge(products::router(app.clone(), pages))
        .merge(search::router(app.clone()))
        .merge(admin_products::router(app.clone()))
        .merge(admin_prices::router(app.clone()))
        .merge(admin_families::router(app.clone()))
        .merge(imports::router(app.clone()))
        .merge(pictures::router(app.clone()))
        .merge(admin_promotions::router(app.clone()))
        .merge(admin_labels::router(app.clone()))
        .merge(admin_corrections::router(app.clone()))
        .merge(admin_stock::router(app))
}

/// The person behind a request to a page that needs none.
#[derive(Clone, Debug)]
struct Browsing {
    caller: MaybeCaller,
    objects: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Browsing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = match MaybeCaller::from_request_parts(parts, state).await {
            Ok(caller) => caller,
            Err(problem) if problem.kind() == ErrorKind::Unavailable => MaybeCaller(None),
            Err(problem) => return Err(problem),
        };
        Ok(Self { caller, objects: objects(&parts.headers) })
    }
}

impl Browsing {
    fn shopper(&self, visitor: Option<VisitorId>) -> Shopper {
        let person = self.caller.0.as_ref().map(|caller| {
            let consent = if caller.personalisation_consent { Consent::Given } else { Consent::Withheld };
            (caller.user_id, consent)
        });
        Shopper::of(person, visitor.filter(|_| !self.objects))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[tokio::test]
    async fn a_browser_that_objects_is_nobody_whatever_id_it_gives() {
        let visitor: VisitorId = "0191f3f0-0000-7000-8000-000000000001".parse().expect("an id");
        for (header, value, is_somebody) in
            [("dnt", "1", false), ("sec-gpc", "1", false), ("dnt", "0", true), ("accept", "1", true)]
        {
            let request = Request::get("/v1/search").header(header, value).body(()).expect("a request");
            let (mut parts, ()) = request.into_parts();
            let browsing = Browsing::from_request_parts(&mut parts, &()).await.expect("nobody has to log in");
            assert_eq!(browsing.shopper(Some(visitor)).is_somebody(), is_somebody, "{header}: {value}");
        }
    }
}
