//! Signs a person up: intent, identity, person, in this order, each committed before the next begins.
//!
//! The password passes through to the identity provider and is kept nowhere else. Whatever stops between two steps is
//! carried on by `reconcile_sign_ups` or by the person's first login, so that no identity stays without its person.
//!
//! Both answers for an e-mail, new or known, take the same calls except the last: one intent, one wish for an identity, one
//! look or one commit.

use std::net::IpAddr;

use common::ids;

use super::complete_sign_up::register;
use super::ports::{Attempt, Created, SignUpEnding};
use super::{App, Result, UserError};
use crate::domain::person::BrokenRule;
use crate::domain::{Registration, SignUp, SignUpForm, SignUpId, sign_up::LEFT_ALONE};
use crate::metrics;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedUp {
    Registered(common::UserId),
    /// The e-mail may be known. Whoever owns it learns nothing new, and whoever does not neither.
    Accepted,
}

/// # Errors
/// Fields at fault; [`UserError::Elsewhere`] for people of another region; [`UserError::Down`] when the identity provider gave
/// no answer: then the sign-up may still be completed within a minute, and asking again is harmless.
pub async fn sign_up(app: &App, form: &SignUpForm, source: IpAddr) -> Result<SignedUp> {
    let person = SignUp::parse(form, app.region)?;
    app.limits.admit(Attempt::SignUp { source }).map_err(|retry_after| UserError::TooMany { retry_after })?;

    let sign_up = SignUpId::from_uuid(ids::random());
    let now = app.clock.now();
    app.people.begin_sign_up(sign_up, now, now + LEFT_ALONE).await?;

    let outcome = carry_out(app, sign_up, &person).await;
    metrics::SIGN_UPS.with_label_values(&[label(&outcome)]).inc();
    outcome
}

async fn carry_out(app: &App, sign_up: SignUpId, person: &SignUp) -> Result<SignedUp> {
    match app.identities.create(sign_up, person).await? {
        Created::New(user) => {
            register(app, &registration(app, sign_up, person, user)).await?;
            Ok(SignedUp::Registered(user))
        }
        Created::EmailKnown => {
            // Our own first try may have arrived although its answer was lost on the way; then the identity names us.
            if let Some(identity) = app.identities.find_by_sign_up(sign_up).await? {
                register(app, &registration(app, sign_up, person, identity.user_id)).await?;
                return Ok(SignedUp::Registered(identity.user_id));
            }
            app.people.close_sign_up(sign_up, SignUpEnding::Refused, app.clock.now()).await?;
            Ok(SignedUp::Accepted)
        }
        Created::PasswordRefused => {
            app.people.close_sign_up(sign_up, SignUpEnding::Refused, app.clock.now()).await?;
            let rule = BrokenRule::invalid("the identity provider does not accept this password; choose another one");
            Err(UserError::Fields(vec![rule.at("/password")]))
        }
    }
}

fn registration(app: &App, sign_up: SignUpId, person: &SignUp, user_id: common::UserId) -> Registration {
    Registration {
        user_id,
        sign_up: Some(sign_up),
        email: person.email.clone(),
        first_name: person.first_name.clone(),
        last_name: person.last_name.clone(),
        language: person.language,
        region: person.region,
        consents: person.consents,
        registered_at: app.clock.now(),
    }
}

fn label(outcome: &Result<SignedUp>) -> &'static str {
    match outcome {
        Ok(SignedUp::Registered(_)) => "registered",
        Ok(SignedUp::Accepted) => "known",
        Err(UserError::Fields(_)) => "refused",
        Err(_) => "failed",
    }
}
