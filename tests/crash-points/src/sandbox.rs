//! A shop of its own on the servers of the test stack: databases, topics, index and document store under names that nobody
//! else has, a gateway with fresh books, and the four programs of the saga, each of which can be told to die.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::ids;
use contracts::topics::USER_REGISTERED;
use messaging::{KafkaSettings, KafkaTls};
use payment_simulator::{Running, Settings, Timings};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _};
use testkit::postgres::region;
use testkit::servers;
use testkit::wait::until;
use tokio::sync::Mutex;

use crate::fate::Folder;
use crate::issuer::Issuer;
use crate::owner;
use crate::process::{Program, Supervised, command};

/// The secret between gateway and shop, and the key of the shop at the gateway.
pub const WEBHOOK_SECRET: &str = "whsec_crash_points";
pub const GATEWAY_KEY: &str = "sk_crash_points";
/// A debug build on a busy machine.
const READY: Duration = Duration::from_secs(90);

/// The programs, in the order of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    CatalogServe,
    CatalogWork,
    OrderServe,
    OrderWork,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::CatalogServe, Self::CatalogWork, Self::OrderServe, Self::OrderWork];

    pub fn name(self) -> &'static str {
        match self {
            Self::CatalogServe => "catalog-serve",
            Self::CatalogWork => "catalog-work",
            Self::OrderServe => "order-payment-serve",
            Self::OrderWork => "order-payment-work",
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::CatalogServe | Self::CatalogWork => "catalog",
            Self::OrderServe | Self::OrderWork => "order-payment",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::CatalogServe | Self::OrderServe => "serve",
            Self::CatalogWork | Self::OrderWork => "work",
        }
    }
}

struct PortsOfShop {
    catalog_http: u16,
    catalog_grpc: u16,
    catalog_admin: u16,
    catalog_work: u16,
    order_http: u16,
    order_grpc: u16,
    order_admin: u16,
    order_work: u16,
    gateway: u16,
}

pub struct Sandbox {
    pub folder: PathBuf,
    pub kafka: KafkaSettings,
    pub issuer: Arc<Issuer>,
    pub orders: PgPool,
    pub stock: PgPool,
    pub catalog_url: String,
    pub orders_url: String,
    pub gateway_url: String,
    gateway: Mutex<Option<Running>>,
    gateway_settings: Settings,
    programs: Vec<Supervised>,
    databases: [String; 2],
}

impl Sandbox {
    /// Makes databases and topics, starts everything and waits until it is ready.
    ///
    /// # Panics
    /// Without the servers of the test stack.
    pub async fn open(binary: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let id = ids::time_ordered().simple().to_string();
        let folder = std::env::temp_dir().join(format!("shopsphere-crash-points-{id}"));
        std::fs::create_dir_all(&folder).expect("a folder for the sandbox");
        let databases = [format!("crash_{id}_order_payment"), format!("crash_{id}_inventory")];
        for (database, owner) in databases.iter().zip(["order_payment_owner", "inventory_owner"]) {
            as_superuser(format!("CREATE DATABASE {database} OWNER {owner}")).await;
        }
        let issuer = Issuer::start().await;
        let [
            catalog_http,
            catalog_grpc,
            catalog_admin,
            catalog_work,
            order_http,
            order_grpc,
            order_admin,
            order_work,
            gateway,
        ] = free_ports();
        let ports = PortsOfShop {
            catalog_http,
            catalog_grpc,
            catalog_admin,
            catalog_work,
            order_http,
            order_grpc,
            order_admin,
            order_work,
            gateway,
        };
        let kafka = KafkaSettings {
            brokers: servers().kafka,
            topic_prefix: format!("crash{id}."),
            replication: 1,
            tls: KafkaTls::default(),
        };
        let gateway_settings = Settings {
            listen: ([127, 0, 0, 1], ports.gateway).into(),
            api_key: GATEWAY_KEY.to_owned(),
            webhook_url: Some(format!("http://127.0.0.1:{}/v1/payments/webhooks/simulator", ports.order_http)),
            webhook_secret: WEBHOOK_SECRET.to_owned(),
            // The same faults as everywhere; only their waits are short.
            timings: Timings {
                slow: Duration::from_millis(300),
                hold: Duration::from_millis(300),
                settle: Duration::from_millis(800),
                webhook_retry: Duration::from_millis(200),
                ..Timings::default()
            },
            ..Settings::new(folder.join("books.redb"))
        };
        let running = payment_simulator::start(gateway_settings.clone()).await.expect("the gateway starts");
        let configs = [
            ("catalog", catalog(&id, &ports, &issuer, &databases[1])),
            ("order-payment", orders(&id, &ports, &issuer, &databases[0])),
        ];
        for (service, text) in &configs {
            std::fs::write(folder.join(format!("{service}.toml")), text).expect("a configuration can be written");
        }
        let pool = |database: &str, role: &str| {
            PgPoolOptions::new()
                .max_connections(4)
                .connect_lazy(&servers().postgres_url(database, role))
                .expect("the URL is well formed")
        };
        let mut sandbox = Self {
            kafka,
            issuer,
            orders: pool(&databases[0], "order_payment_owner"),
            stock: pool(&databases[1], "inventory_owner"),
            catalog_url: format!("http://127.0.0.1:{}", ports.catalog_http),
            orders_url: format!("http://127.0.0.1:{}", ports.order_http),
            gateway_url: running.base_url.clone(),
            gateway: Mutex::new(Some(running)),
            gateway_settings,
            programs: Vec::new(),
            databases,
            folder,
        };
        std::fs::create_dir_all(sandbox.redriver().path()).expect("a folder for the program");
        messaging::create_topics(&sandbox.kafka, region(), &[&USER_REGISTERED]).await.expect("a topic can be made");
        for role in [Role::CatalogServe, Role::OrderServe] {
            let program = sandbox.program(role, binary, &ports);
            let status = command(&program, "migrate").status().await.expect("the mortal program runs");
            assert!(status.success(), "{} migrate ended with {status}", program.name);
        }
        for role in Role::ALL {
            let program = sandbox.program(role, binary, &ports);
            let leases = sandbox.orders.clone();
            let afterwards = move || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
                let leases = leases.clone();
                Box::pin(async move {
                    if role == Role::OrderWork {
                        owner::end_leases(&leases).await;
                    }
                })
            };
            sandbox.programs.push(Supervised::start(program, Arc::new(afterwards)));
        }
        sandbox.ready().await;
        sandbox
    }

    fn program(&self, role: Role, binary: &Path, ports: &PortsOfShop) -> Program {
        let folder = self.folder.join(role.name());
        std::fs::create_dir_all(&folder).expect("a folder for the program");
        let admin = match role {
            Role::CatalogServe => ports.catalog_admin,
            Role::CatalogWork => ports.catalog_work,
            Role::OrderServe => ports.order_admin,
            Role::OrderWork => ports.order_work,
        };
        Program {
            name: role.name(),
            service: role.service(),
            role: role.word(),
            binary: binary.to_owned(),
            config: self.folder.join(format!("{}.toml", role.service())),
            member: role.name().to_owned(),
            ready_url: format!("http://127.0.0.1:{admin}/readyz"),
            folder: Folder::new(folder),
        }
    }

    pub fn of(&self, role: Role) -> &Supervised {
        self.programs.iter().find(|program| program.program.name == role.name()).expect("all roles were started")
    }

    /// Waits until all four programs are ready.
    ///
    /// # Panics
    /// When one is not within [`READY`].
    pub async fn ready(&self) {
        for program in &self.programs {
            until(&format!("{} to be ready", program.program.name), READY, async || {
                match crate::shop::HTTP.get(&program.program.ready_url).send().await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => Err(format!("{} {:?}", answer.status(), program.life())),
                    Err(error) => Err(format!("{error} {:?}", program.life())),
                }
            })
            .await;
        }
    }

    /// The folder of the program that tries parked messages again; it is told to die as the others are.
    pub fn redriver(&self) -> Folder {
        Folder::new(self.folder.join("redrive"))
    }

    /// Tries parked messages again, as an operator would: once more when the program died.
    ///
    /// # Panics
    /// When it does not end well after dying twice.
    pub async fn redrive(&self) {
        let like = &self.of(Role::OrderWork).program;
        let program = Program {
            name: "order-payment-redrive",
            folder: self.redriver(),
            member: "redrive".to_owned(),
            ..like.clone()
        };
        for _ in 0..3 {
            let status = command(&program, "redrive").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
            if status.expect("the mortal program runs").success() {
                return;
            }
        }
        panic!("parked messages could not be tried again");
    }

    /// The books of the gateway, whole.
    pub async fn books(&self) -> Vec<payment_simulator::Entry> {
        let gateway = self.gateway.lock().await;
        gateway.as_ref().expect("the gateway runs").books().await.expect("the books can be read")
    }

    /// Closes the gateway: nobody answers there.
    pub async fn close_gateway(&self) {
        if let Some(running) = self.gateway.lock().await.take() {
            running.stop().await;
        }
    }

    /// Opens it again, with its books and at its address.
    pub async fn open_gateway(&self) {
        let mut gateway = self.gateway.lock().await;
        if gateway.is_none() {
            let running = until("the gateway's port", READY, async || {
                payment_simulator::start(self.gateway_settings.clone()).await.map_err(|error| error.to_string())
            })
            .await;
            *gateway = Some(running);
        }
    }

    /// The gateway closes a day, with whatever is in its books; a day that is closed stays as it is.
    pub async fn close_day(&self, day: chrono::NaiveDate) {
        let gateway = self.gateway.lock().await;
        gateway.as_ref().expect("the gateway runs").close_day(day).await.expect("a day can be closed");
    }

    /// Lets everything go on that a behaviour has stopped: one that failed does not spoil the next.
    pub async fn go_on(&self) {
        self.of(Role::CatalogWork).signal(libc::SIGCONT);
        let _ = std::fs::remove_file(self.of(Role::OrderWork).program.folder.hold());
        self.open_gateway().await;
        owner::take_steps(&self.orders).await;
    }

    /// Stops the programs and removes what was made, unless the run failed and somebody may want to look.
    pub async fn close(mut self, remove: bool) {
        for program in &mut self.programs {
            program.stop().await;
        }
        self.close_gateway().await;
        self.orders.close().await;
        self.stock.close().await;
        if remove {
            for database in &self.databases {
                as_superuser(format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await;
            }
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until the last is found, so that none comes twice.
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
    std::array::from_fn(|n| held[n].local_addr().expect("a bound port has an address").port())
}

fn common_part(issuer: &Issuer, public: u16, admin: u16, work: u16) -> String {
    format!(
        "[site]\nregion = \"{region}\"\nname = \"crash-points\"\nepoch = 1\npublic_url = \"http://127.0.0.1:{public}\"\n\
         [admin]\nport = {admin}\nwork_port = {work}\n[http]\nport = {public}\n\
         [telemetry]\notlp_endpoint = \"\"\nlog = \"info\"\n\
         [auth]\nissuer = \"{issuer}\"\njwks_url = \"{keys}\"\n[redis]\nurl = \"{redis}\"\n",
        region = region().code(),
        issuer = issuer.name(),
        keys = issuer.keys_url(),
        redis = servers().redis_url,
    )
}

fn stores(id: &str, database: &str, owner: &str) -> String {
    format!(
        "[database]\nurl = \"{}\"\nowner_url = \"{}\"\nmax_connections = 8\n[kafka]\nbrokers = \"{}\"\ntopic_prefix = \"crash{id}.\"\n",
        servers().postgres_url(database, &format!("{owner}_app")),
        servers().postgres_url(database, &format!("{owner}_owner")),
        servers().kafka,
    )
}

fn catalog(id: &str, ports: &PortsOfShop, issuer: &Issuer, database: &str) -> String {
    format!(
        "{}{}[grpc]\nport = {}\n[mongo]\nurl = \"{}\"\ndatabase = \"crash_{id}\"\n\
         [elasticsearch]\nurl = \"{}\"\nindex_prefix = \"crash{id}-\"\nsearch_deadline_ms = 3000\n\
         [order_payment]\ngrpc_url = \"http://127.0.0.1:{}\"\n",
        common_part(issuer, ports.catalog_http, ports.catalog_admin, ports.catalog_work),
        stores(id, database, "inventory"),
        ports.catalog_grpc,
        servers().mongo_url,
        servers().elasticsearch_url,
        ports.order_grpc,
    )
}

fn orders(id: &str, ports: &PortsOfShop, issuer: &Issuer, database: &str) -> String {
    format!(
        "{}{}[grpc]\nport = {}\n[catalog]\ngrpc_url = \"http://127.0.0.1:{}\"\n\
         [gateway]\nbase_url = \"http://127.0.0.1:{}\"\napi_key = \"{GATEWAY_KEY}\"\nwebhook_secret = \"{WEBHOOK_SECRET}\"\n\
         settlement_url = \"http://127.0.0.1:{}/settlements\"\n[settlement]\nhour_utc = 0\n\
         [card_testing]\nmost_declined = 1000\n\
         [fraud_check]\nurl = \"http://127.0.0.1:{}/fraud/assessments\"\napi_key = \"{GATEWAY_KEY}\"\ntimeout_ms = 1000\n\
         [prices]\nlock_key = \"crash-points-lock-key\"\n\
         [reconcile]\nevery_s = 1\nwindow_s = 3600\ngrace_s = 2\norphan_deadline_s = 1\n",
        common_part(issuer, ports.order_http, ports.order_admin, ports.order_work),
        stores(id, database, "order_payment"),
        ports.order_grpc,
        ports.catalog_grpc,
        ports.gateway,
        ports.gateway,
        ports.gateway,
    )
}

async fn as_superuser(statement: String) {
    let url = servers().postgres_url("postgres", "postgres");
    let mut connection = PgConnection::connect(&url)
        .await
        .unwrap_or_else(|error| panic!("no test PostgreSQL ({error}); `./dev servers up --offset 2000` starts it"));
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("the superuser may make and drop databases");
    let _ = connection.close().await;
}
