//! Pictures that staff uploads. Decided here: which bytes are a picture, told by their content and never by what the sender
//! calls them, and what it is named: by its content, so that a name says one thing for ever and no name can lead anywhere else.

/// What kind of picture some bytes are. No SVG: it is a document that can run things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PictureKind {
    Png,
    Jpeg,
    Gif,
    WebP,
    Avif,
}

impl PictureKind {
    pub const ALL: [Self; 5] = [Self::Png, Self::Jpeg, Self::Gif, Self::WebP, Self::Avif];

    /// The kind that these bytes begin like.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => Some(Self::Avif),
            _ => None,
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::WebP => "webp",
            Self::Avif => "avif",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
            Self::Avif => "image/avif",
        }
    }
}

/// The SHA-256 of the content in hexadecimal digits, a dot and the extension: nothing else is a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PictureName(String, PictureKind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a picture")]
pub struct InvalidName;

/// Where pictures are shown, below the site.
pub const PICTURES: &str = "/v1/products/pictures/";

impl PictureName {
    pub fn new(digest: [u8; 32], kind: PictureKind) -> Self {
        Self(format!("{}.{}", hex::encode(digest), kind.extension()), kind)
    }

    /// # Errors
    /// [`InvalidName`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (digest, extension) = text.split_once('.').ok_or(InvalidName)?;
        let is_digest =
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
        let kind = PictureKind::ALL.into_iter().find(|kind| kind.extension() == extension);
        match kind {
            Some(kind) if is_digest => Ok(Self(text.to_owned(), kind)),
            _ => Err(InvalidName),
        }
    }

    /// The picture of ours that an image reference means; `None` for any other reference.
    ///
    /// # Errors
    /// [`InvalidName`] for one that points to our pictures and names none.
    pub fn of_reference(image: &str) -> Option<Result<Self, InvalidName>> {
        image.strip_prefix(PICTURES).map(Self::parse)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn kind(&self) -> PictureKind {
        self.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_told_by_its_bytes() {
        let table: [(&[u8], Option<PictureKind>); 9] = [
            (b"\x89PNG\r\n\x1a\nrest", Some(PictureKind::Png)),
            (b"\xff\xd8\xff\xe0", Some(PictureKind::Jpeg)),
            (b"GIF89a...", Some(PictureKind::Gif)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(PictureKind::WebP)),
            (b"\0\0\0\x1cftypavif", Some(PictureKind::Avif)),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"<html>", None),
            (b"", None),
            (b"GIF88a", None),
        ];
        for (bytes, kind) in table {
            assert_eq!(PictureKind::of(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn a_name_is_a_digest_and_leads_nowhere_else() {
        let name = PictureName::new([0xab; 32], PictureKind::Png);
        assert_eq!(PictureName::parse(name.as_str()), Ok(name.clone()));
        let digest = "ab".repeat(32);
        for text in [
            "",
            "../../etc/passwd",
            &digest,
            &format!("{digest}.svg"),
            &format!("{digest}.png.png"),
            &format!("{digest}.PNG"),
            &format!("{}.png", digest.to_uppercase()),
            &format!("../{digest}.png"),
            &format!("{}.png", "/".repeat(64)),
            &format!("{digest}.png\0"),
        ] {
            assert_eq!(PictureName::parse(text), Err(InvalidName), "{text}");
        }
        let reference = format!("{PICTURES}{}", name.as_str());
        assert_eq!(PictureName::of_reference(&reference), Some(Ok(name)));
        assert_eq!(PictureName::of_reference("/static/a.svg"), None);
        assert_eq!(PictureName::of_reference("/v1/products/pictures/../x"), Some(Err(InvalidName)));
    }
}
