//! The shop that is asked: a catalog process of its own in role serve, with a database, a document store and an index of its own
//! on the servers of the test stack. The products go into the index by the service's own document builder, in bulk.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catalog::domain::draft::{AttributeDraft, ProductDraft, TextDraft};
use catalog::domain::product::{Revision, State};
use catalog::domain::trail::Trail;
use catalog::outbound::mongo;
use catalog::outbound::search::ElasticProducts;
use catalog::usecases::ports::products::ProductIndex as _;
use demo::generate;
use serde_json::Value;
use testkit::postgres::{TestDatabase, region};
use testkit::servers;
use testkit::wait::until;
use tokio::process::{Child, Command};

use crate::baseline::{DEEP, client};
use crate::data::Collection;

/// Products sent at once.
const PORTION: usize = 500;
/// A debug build on a busy machine.
const READY: Duration = Duration::from_secs(90);
/// A search on such a machine; the shop's own limit is measured elsewhere.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the ids of the collection in the shop's SKUs.
const SKU: &str = "IC-";

pub struct Shop {
    index: ElasticProducts,
    http: reqwest::Client,
    url: String,
    process: Child,
    folder: PathBuf,
    // Dropped with us.
    _database: TestDatabase,
}

impl Shop {
    pub async fn open(collection: &Collection) -> anyhow::Result<Self> {
        let name = format!("quality-{}", common::ids::random().simple());
        let prefix = format!("{name}-");
        let index = ElasticProducts::new(&servers().elasticsearch_url, &prefix, region(), PATIENCE)?;
        index.create().await?;
        fill(&index, collection).await?;
        let ferretdb = servers().postgres_url("ferretdb", "ferretdb_owner");
        let documents = name.replace('-', "_");
        mongo::migrate(&servers().mongo_url, &documents, &ferretdb).await?;
        let database = TestDatabase::create("inventory", &catalog::wiring::MIGRATOR).await;
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder)?;
        let ports = free_ports::<4>()?;
        let config = folder.join("catalog.toml");
        std::fs::write(&config, settings(&ports, &prefix, &documents, &database.name))?;
        let program = std::env::current_exe()?.with_file_name("catalog");
        let log = std::fs::File::create(folder.join("log"))?;
        let process = Command::new(&program)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let [public, admin, ..] = ports;
        let shop = Self {
            index,
            http: client()?,
            url: format!("http://127.0.0.1:{public}"),
            process,
            folder,
            _database: database,
        };
        until("the catalog to be ready", READY, async || {
            match shop.http.get(format!("http://127.0.0.1:{admin}/readyz")).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                other => Err(format!("{other:?}, see {}", shop.folder.join("log").display())),
            }
        })
        .await;
        Ok(shop)
    }

    /// The shop's index, to be asked with other weights.
    pub fn index(&self) -> &ElasticProducts {
        &self.index
    }

    /// Products in their order, and how long it took.
    pub async fn ask(&self, text: &str) -> anyhow::Result<(Vec<String>, f64)> {
        let request =
            self.http.get(format!("{}/v1/search", self.url)).query(&[("q", text), ("limit", &DEEP.to_string())]);
        let began = Instant::now();
        let answer: Value = request.header("accept-language", "en").send().await?.error_for_status()?.json().await?;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        let items = answer["items"].as_array().context("items")?;
        Ok((items.iter().filter_map(|item| id(item["sku"].as_str()?)).collect(), took))
    }

    pub async fn close(mut self) -> anyhow::Result<()> {
        self.process.kill().await?;
        std::fs::remove_dir_all(&self.folder)?;
        self.index.drop_all().await
    }
}

/// The collection's id of one of our SKUs.
pub fn id(sku: &str) -> Option<String> {
    sku.strip_prefix(SKU).map(str::to_owned)
}

async fn fill(index: &ElasticProducts, collection: &Collection) -> anyhow::Result<()> {
    for (number, products) in collection.products.chunks(PORTION).enumerate() {
        let revisions = products.iter().map(revision).collect::<anyhow::Result<Vec<_>>>()?;
        let applied = index.apply(&revisions).await?;
        anyhow::ensure!(applied.written == products.len(), "the index took {} of {}", applied.written, products.len());
        if number % 10 == 9 {
            eprintln!("{} products in our index", (number + 1) * PORTION);
        }
    }
    Ok(index.refresh().await?)
}

fn revision(product: &generate::Product) -> anyhow::Result<Revision> {
    let texts = product.texts.iter().map(|(language, text)| TextDraft {
        language: (*language).to_owned(),
        name: text.name.clone(),
        description: text.description.clone(),
    });
    let attributes = product.attributes.iter().map(|attribute| AttributeDraft {
        key: attribute.key.clone(),
        value: attribute.value.clone(),
        unit: attribute.unit.clone(),
    });
    let draft = ProductDraft {
        sku: product.sku.clone(),
        family: product.family.to_owned(),
        category: product.category.clone(),
        brand: product.brand.clone(),
        texts: texts.collect(),
        prices: product.prices.iter().map(|(currency, amount)| ((*currency).to_owned(), amount.clone())).collect(),
        attributes: attributes.collect(),
        ..ProductDraft::default()
    };
    let state = State::Live(draft.check("")?);
    let changed_at = chrono::DateTime::UNIX_EPOCH;
    Ok(Revision {
        number: 1,
        state,
        changed_at,
        traceparent: None,
        author: None,
        trail: Trail::default(),
        moved_from: None,
    })
}

fn settings([public, admin, work, grpc]: &[u16; 4], prefix: &str, documents: &str, database: &str) -> String {
    let servers = servers();
    format!(
        "[site]\nregion = \"{region}\"\nname = \"quality\"\nepoch = 1\npublic_url = \"http://127.0.0.1:{public}\"\n\
         [admin]\nport = {admin}\nwork_port = {work}\n[http]\nport = {public}\n[grpc]\nport = {grpc}\n\
         [telemetry]\notlp_endpoint = \"\"\nlog = \"info\"\n\
         [auth]\nissuer = \"{keycloak}/realms/shopsphere-{region}\"\njwks_url = \"{keycloak}/realms/shopsphere-{region}/protocol/openid-connect/certs\"\n\
         [redis]\nurl = \"{redis}\"\n[database]\nurl = \"{postgres}\"\n[kafka]\nbrokers = \"{kafka}\"\n\
         [mongo]\nurl = \"{mongo}\"\ndatabase = \"{documents}\"\n\
         [elasticsearch]\nurl = \"{elasticsearch}\"\nindex_prefix = \"{prefix}\"\nsearch_deadline_ms = {patience}\n",
        region = region().code(),
        keycloak = servers.keycloak_url,
        redis = servers.redis_url,
        postgres = servers.postgres_url(database, "inventory_app"),
        kafka = servers.kafka,
        mongo = servers.mongo_url,
        elasticsearch = servers.elasticsearch_url,
        patience = PATIENCE.as_millis(),
    )
}

/// Ports that nobody has now: all are held until the last is found.
fn free_ports<const COUNT: usize>() -> anyhow::Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    let mut held = Vec::with_capacity(COUNT);
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
