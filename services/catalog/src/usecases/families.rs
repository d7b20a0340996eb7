//! The schemas of families: known to every process, checked at every write, and followed lazily at every read: whoever reads a
//! product sees it under the newest schema it can go over to, and whoever writes it writes it so. Products that nobody touches
//! are written anew by [`migrate_products`].
//!
//! Another process may add a version a moment before we hear of it; what we write until then is checked against the version
//! before, and says so. Versions stand side by side, so that is no fault. A process that could not read them yet accepts nothing:
//! under the open schema that every family begins with it would accept what others refuse.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use common::{ErrorKind, Explain, FieldProblem, Region, SharedClock, Sku};

use super::ports::products::{Insertion, ProductStore, SchemaStore, StoreDown};
use crate::domain::product::{Author, Family, InvalidProduct, Product, Revision, State};
use crate::domain::schema::{Schema, Schemas};

/// Products written at once while they go over.
const PORTION: usize = 200;

/// What this process knows of the schemas, and where they are kept.
#[derive(Clone)]
pub struct Families {
    /// `None` until they were read once.
    known: Arc<ArcSwapOption<Schemas>>,
    store: Arc<dyn SchemaStore>,
}

#[derive(Debug, thiserror::Error)]
pub enum AddSchemaError {
    #[error("{} fields of the schema are not acceptable", .0.len())]
    Invalid(Vec<FieldProblem>),
    #[error("somebody else added a version at the same moment; nothing was changed")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreDown),
}

impl Families {
    /// Shows every family with its open schema until [`Families::refresh`], and accepts nothing.
    pub fn new(store: Arc<dyn SchemaStore>) -> Self {
        Self { known: Arc::default(), store }
    }

    pub fn known(&self) -> Arc<Schemas> {
        self.known.load_full().unwrap_or_default()
    }

    /// Whether they were read once.
    pub fn are_known(&self) -> bool {
        self.known.load().is_some()
    }

    /// Reads what others have added.
    pub async fn refresh(&self) -> Result<(), StoreDown> {
        self.known.store(Some(Arc::new(Schemas::of(self.store.schemas().await?))));
        Ok(())
    }

    /// The next version of a family's schema.
    pub async fn add(&self, schema: Schema, author: &Author) -> Result<Schema, AddSchemaError> {
        self.refresh().await?;
        let version = self.known().newest(schema.family).version + 1;
        let schema = Schema { version, ..schema }.check().map_err(AddSchemaError::Invalid)?;
        match self.store.add_schema(&schema, author).await? {
            Insertion::Written => self.refresh().await?,
            Insertion::Taken => return Err(AddSchemaError::Overtaken),
        }
        Ok(schema)
    }

    pub fn versions(&self, family: Family) -> Vec<Schema> {
        self.known().versions(family)
    }

    /// The product under the newest schema of its family, or what that schema does not accept. `place` is its JSON pointer in
    /// the request.
    ///
    /// # Errors
    /// Nobody could read the schemas yet.
    pub async fn accept(&self, product: Product, place: &str) -> Result<Result<Product, InvalidProduct>, StoreDown> {
        if !self.are_known() {
            self.refresh().await?;
        }
        let schema = self.known().newest(product.family);
        let faults = schema.faults(&product, place);
        Ok(if faults.is_empty() {
            Ok(Product { schema: schema.version, ..product })
        } else {
            Err(InvalidProduct(faults))
        })
    }
}

impl Explain for AddSchemaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::Unprocessable,
            Self::Overtaken => ErrorKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-field",
            Self::Overtaken => "version-conflict",
            Self::Store(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::Invalid(faults) => faults.clone(),
            Self::Overtaken | Self::Store(_) => Vec::new(),
        }
    }
}

/// A store whose products are seen under the newest schema they can go over to. What is written is written as it is.
pub struct InNewestForm {
    store: Arc<dyn ProductStore>,
    families: Families,
}

impl InNewestForm {
    pub fn new(store: Arc<dyn ProductStore>, families: Families) -> Self {
        Self { store, families }
    }
}

fn in_newest_form(schemas: &Schemas, revision: Revision) -> Revision {
    let adopted = revision.live().and_then(|product| schemas.adopt(product));
    match adopted {
        Some(product) => Revision { state: State::Live(product), ..revision },
        None => revision,
    }
}

#[async_trait]
impl ProductStore for InNewestForm {
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown> {
        let schemas = self.families.known();
        Ok(self.store.newest(sku).await?.map(|revision| in_newest_form(&schemas, revision)))
    }

    async fn newest_many(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        let schemas = self.families.known();
        let newest = self.store.newest_many(skus).await?;
        Ok(newest.into_iter().map(|revision| in_newest_form(&schemas, revision)).collect())
    }

    async fn newest_readable(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        let schemas = self.families.known();
        let newest = self.store.newest_readable(skus).await?;
        Ok(newest.into_iter().map(|revision| in_newest_form(&schemas, revision)).collect())
    }

    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        self.store.insert(revisions).await
    }

    async fn unpublished(&self, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        let schemas = self.families.known();
        let waiting = self.store.unpublished(limit).await?;
        Ok(waiting.into_iter().map(|revision| in_newest_form(&schemas, revision)).collect())
    }

    async fn mark_published(&self, revisions: &[Revision]) -> Result<(), StoreDown> {
        self.store.mark_published(revisions).await
    }

    async fn history(&self, sku: &Sku, before: Option<i64>, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        // What was, as it was.
        self.store.history(sku, before, limit).await
    }

    async fn skus(&self) -> Result<Vec<Sku>, StoreDown> {
        self.store.skus().await
    }
}

/// What became of products that were to go over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Written anew under the newest schema.
    pub adopted: usize,
    /// Under it already.
    pub current: usize,
    /// Cannot go over: they stay under the schema they have until somebody changes them.
    pub stubborn: usize,
    /// Somebody else wrote them meanwhile; the next run looks again.
    pub overtaken: usize,
}

/// Writes every product of `store` anew that can go over to a newer schema. `store` shows products as they are kept. Can be
/// stopped and repeated at any time: what was written is current.
pub async fn migrate_products(
    store: &dyn ProductStore,
    schemas: &Schemas,
    region: Region,
    clock: &SharedClock,
    progress: impl Fn(Migrated, usize),
) -> Result<Migrated, StoreDown> {
    let skus = store.skus().await?;
    let mut sum = Migrated::default();
    for portion in skus.chunks(PORTION) {
        let mut adopted = Vec::new();
        for revision in store.newest_readable(portion).await? {
            let Some(product) = revision.live() else { continue };
            match schemas.adopt(product) {
                Some(product) => {
                    let (number, state) = (revision.number + 1, State::Live(product));
                    adopted.push(Revision::after(Some(&revision), number, state, region, clock.now(), None));
                }
                None if product.schema < schemas.newest(product.family).version => sum.stubborn += 1,
                None => sum.current += 1,
            }
        }
        for insertion in if adopted.is_empty() { Vec::new() } else { store.insert(&adopted).await? } {
            match insertion {
                Insertion::Written => sum.adopted += 1,
                Insertion::Taken => sum.overtaken += 1,
            }
        }
        progress(sum, skus.len());
    }
    Ok(sum)
}
