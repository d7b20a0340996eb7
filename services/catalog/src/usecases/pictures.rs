//! Pictures come in, are shown, and must be there before a product points at them.

use bytes::Bytes;
use common::{ErrorKind, Explain, FieldProblem, UserId};
use sha2::{Digest as _, Sha256};

use super::App;
use super::ports::audit::{Act, AuditDown};
use super::ports::pictures::PicturesDown;
use crate::domain::picture::{PictureKind, PictureName};
use crate::domain::product::Product;

/// The largest picture. What is larger was not made for a page.
pub const MOST_PICTURE: usize = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum TakePictureError {
    #[error("these bytes are no PNG, JPEG, GIF, WebP or AVIF; nothing was stored")]
    NoPicture,
    #[error("a picture has at most 4 MiB; nothing was stored")]
    TooLarge,
    #[error(transparent)]
    Down(#[from] PicturesDown),
    #[error(transparent)]
    NotNoted(#[from] AuditDown),
}

impl Explain for TakePictureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPicture => ErrorKind::UnsupportedMedia,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Down(error) => error.kind(),
            Self::NotNoted(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoPicture => "unsupported-media-type",
            Self::TooLarge => "body-too-large",
            Self::Down(error) => error.code(),
            Self::NotNoted(error) => error.code(),
        }
    }
}

/// Keeps a picture under the name that its content has, after it is written down who brought it and why.
pub async fn take_picture(
    app: &App,
    by: UserId,
    reason: String,
    bytes: Bytes,
) -> Result<PictureName, TakePictureError> {
    if bytes.len() > MOST_PICTURE {
        return Err(TakePictureError::TooLarge);
    }
    let kind = PictureKind::of(&bytes).ok_or(TakePictureError::NoPicture)?;
    let name = PictureName::new(Sha256::digest(&bytes).into(), kind);
    let act = Act {
        by,
        name: "picture.store",
        subject: name.as_str().to_owned(),
        reason,
        outcome: format!("{} bytes to be stored", bytes.len()),
    };
    app.products.audit.note(act).await?;
    app.products.pictures.put(&name, bytes).await?;
    Ok(name)
}

/// Which of a product's images point at pictures of ours that are not there, as pointers below `place`.
pub async fn missing_pictures(app: &App, product: &Product, place: &str) -> Result<Vec<FieldProblem>, PicturesDown> {
    let mut references: Vec<(String, String)> = Vec::new();
    for (at, image) in product.images.iter().enumerate() {
        references.push((format!("{place}/images/{at}"), image.clone()));
    }
    for (variant, own) in product.variants.iter().enumerate() {
        for (at, image) in own.images.iter().enumerate() {
            references.push((format!("{place}/variants/{variant}/images/{at}"), image.clone()));
        }
    }
    let mut problems = Vec::new();
    for (pointer, image) in references {
        let there = match PictureName::of_reference(&image) {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(name)) => app.products.pictures.has(&name).await?,
        };
        if !there {
            problems.push(FieldProblem::new(pointer, "unknown", "there is no such picture here; upload it first"));
        }
    }
    Ok(problems)
}
