//! The connection to Redis: one server, or the servers of a cluster. Callers see no difference, as long as what they ask for in one command,
//! one script or one transaction lies in one slot.
//!
//! Decided here: which of the two a URL means, how commands come to the servers that have their keys, how long connecting may take, and
//! when a connection to a cluster is given up. Not decided here: how long a caller waits and whether it tries again (`resilience`), and which keys lie together (whose keys they are).
//!
//! A cluster answers MOVED or ASK where a slot has gone elsewhere, and a connection ends where a master has; then the library asks where
//! the slot is and sends the same commands once more, all of one slot, though some of them may have been done. So nothing is sent
//! that may not be done twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::{FutureExt as _, join_all};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{Arg, Cmd, Pipeline, RedisFuture, RedisResult, Value};
use tokio::runtime::Handle;

/// What the scheme of a cluster's URL ends in.
const CLUSTER: &str = "+cluster";

/// Requests that may wait for one socket: a page sends one, and there are many pages.
const WAITING: usize = 1024;

/// Shortest pause before a server is asked again that could not be reached, or that sent us elsewhere.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// How often the library sends commands again in a cluster: when the slot has moved, when it is asked there, and when the server that it
/// was sent to has just gone. All of them end with [`Limits::answer`].
const SENT_AGAIN: u32 = 3;

/// Longest that connecting to one server of a cluster may take. While the library looks where slots are it answers nothing else, and it asks
/// a server that is silent each time; within a region a server that is there takes a few milliseconds.
const CONNECT_IN_A_CLUSTER: Duration = Duration::from_millis(200);

/// A connection to a server of a cluster has ended when what was sent has not arrived for this long: a server that is gone with its node ends
/// none, and an answer that does not come lets the library ask nobody where the slots are now. Left to itself, the kernel takes a quarter of an
/// hour, a copy some 15 s to take over. Kernels confirm what arrives, so a server that is only busy ends nothing.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// A connection to a cluster that has answered nothing at all for this long, though it was asked, is given up for a new one. When a master
/// dies the library (redis 1.8) may come to wait for itself: it looks where the slots are under a lock that it has promised to a request, and
/// works on no request until it knows. Longer than it may rightly look: 200 ms for each of some twenty servers. What waits on the old
/// connection is lost with it; callers have long given it up.
const SILENT: Duration = Duration::from_secs(5);

/// How long a connection may take to do what. Callers wait less where they have less time; this bounds what they gave up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connecting, one try.
    pub connect: Duration,
    /// An answer; in a cluster with everything that is done to find the right server.
    pub answer: Duration,
    /// Tries to connect before the callers that wait are told that it is away. The next caller begins anew.
    pub tries: usize,
    /// Longest pause between such tries, at least 50 ms.
    pub pause: Duration,
}

/// A connection that clones share. It is opened when first used, and again whenever it ends.
#[derive(Clone)]
pub struct RedisClient(Kind);

#[derive(Clone)]
enum Kind {
    Server(ConnectionManager),
    Cluster(Arc<Cluster>),
}

struct Cluster {
    client: ClusterClient,
    open: Mutex<Open>,
}

struct Open {
    connection: ClusterConnection,
    /// When the first request was sent since anything was answered.
    unanswered_since: Option<Instant>,
}

impl Cluster {
    fn new(client: ClusterClient) -> Self {
        let open = Mutex::new(Open { connection: connect(&client), unanswered_since: None });
        Self { client, open }
    }

    /// What `ask` brings of the connection; of a new one where the old one is silent.
    async fn ask<T>(&self, ask: impl AsyncFnOnce(ClusterConnection) -> RedisResult<T>) -> RedisResult<T> {
        let connection = self.connection(Instant::now());
        let answer = ask(connection).await;
        // A refusal is an answer too. Whoever is dropped on the way here has heard none.
        self.open().unanswered_since = None;
        answer
    }

    fn connection(&self, now: Instant) -> ClusterConnection {
        let mut open = self.open();
        if open.unanswered_since.is_some_and(|since| now.saturating_duration_since(since) >= SILENT) {
            tracing::warn!("the connection to the redis cluster answers nothing; it is given up for a new one");
            *open = Open { connection: connect(&self.client), unanswered_since: None };
        }
        open.unanswered_since.get_or_insert(now);
        open.connection.clone()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(client: &ClusterClient) -> ClusterConnection {
    client.get_pending_async_connection_with_config(ClusterConfig::new())
}

impl RedisClient {
    /// `redis://` or `rediss://` is one server; `redis+cluster://` or `rediss+cluster://` is a cluster, of which one or several nodes are
    /// named: `redis+cluster://:password@one:6379,two:6379`. The others are asked for. The connections to a cluster live on the runtime of
    /// whoever calls this, the one to a server on that of whoever first uses it.
    ///
    /// # Errors
    /// The URL is not one, or there is no runtime for a cluster. That Redis is away is not an error.
    pub fn open(url: &str, limits: Limits) -> anyhow::Result<Self> {
        let Some(nodes) = nodes(url) else {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(limits.connect))
                .set_response_timeout(Some(limits.answer))
                .set_number_of_retries(limits.tries)
                .set_min_delay(SHORTEST_PAUSE)
                .set_max_delay(limits.pause)
                .set_pipeline_buffer_size(WAITING);
            let client = redis::Client::open(url).context("redis.url")?;
            let server = ConnectionManager::new_lazy_with_config(client, config).context("redis.url")?;
            return Ok(Self(Kind::Server(server)));
        };
        Handle::try_current().context("a cluster is spoken to on a runtime")?;
        let client = ClusterClient::builder(nodes)
            .connection_timeout(limits.connect.min(CONNECT_IN_A_CLUSTER))
            .response_timeout(limits.answer)
            .tcp_settings(TcpSettings::default().set_user_timeout(UNCONFIRMED))
            .retries(SENT_AGAIN)
            .min_retry_wait(milliseconds(SHORTEST_PAUSE))
            .max_retry_wait(milliseconds(limits.pause))
            .build()
            .context("redis.url")?;
        Ok(Self(Kind::Cluster(Arc::new(Cluster::new(client)))))
    }

    /// Whether the URL was that of a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.0, Kind::Cluster(_))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The nodes that the URL of a cluster names, each with a URL of its own; `None` for the URL of one server.
fn nodes(url: &str) -> Option<Vec<String>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.strip_suffix(CLUSTER)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // What stands before the last @ is a name and a password; both have no comma but a written-out one.
    let (who, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    Some(hosts.split(',').map(|host| format!("{scheme}://{who}{host}{path}")).collect())
}

/// The key that says where a command belongs: its first. Of our commands only `EVAL` and `EVALSHA` have it in another place; `PING` has none.
fn slot(command: &Cmd) -> Option<Slot> {
    let mut words = command.args_iter();
    let before_the_key = match words.next()? {
        Arg::Simple(name) if name.eq_ignore_ascii_case(b"EVAL") || name.eq_ignore_ascii_case(b"EVALSHA") => 2,
        _ => 0,
    };
    match words.nth(before_the_key)? {
        Arg::Simple(key) => Some(Slot::for_key(key)),
        _ => None,
    }
}

/// Masters only: a copy may not have yet what was written, and a session that has ended has ended.
fn route(slot: Option<Slot>) -> SingleNodeRoutingInfo {
    match slot {
        Some(slot) => SingleNodeRoutingInfo::SpecificNode(Route::with_slot(slot, SlotAddr::Master)),
        // Whoever asks whether the cluster is there is content with any of it: no server is to take all processes with it.
        None => SingleNodeRoutingInfo::Random,
    }
}

/// The commands of each slot in their order, all slots at the same time. The answers come in the order of the commands, or none do when a
/// slot gives none; what was sent to the others is done then all the same.
async fn each_slot(cluster: &ClusterConnection, commands: &Pipeline) -> RedisResult<Vec<Value>> {
    let mut slots: HashMap<Option<Slot>, (Vec<usize>, Pipeline)> = HashMap::new();
    for (place, command) in commands.cmd_iter().enumerate() {
        let (places, together) = slots.entry(slot(command)).or_default();
        places.push(place);
        together.add_command(command.clone());
    }
    let sent = slots.into_iter().map(|(slot, (places, together))| {
        let mut cluster = cluster.clone();
        async move {
            let answers = cluster.route_pipeline(together, 0, places.len(), route(slot)).await?;
            Ok((places, answers))
        }
    });
    let mut answers = vec![Value::Nil; commands.len()];
    let come: RedisResult<Vec<(Vec<usize>, Vec<Value>)>> = join_all(sent).await.into_iter().collect();
    for (places, come) in come? {
        for (place, answer) in places.into_iter().zip(come) {
            answers[place] = answer;
        }
    }
    Ok(answers)
}

impl ConnectionLike for RedisClient {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.0 {
            Kind::Server(server) => server.req_packed_command(command),
            Kind::Cluster(cluster) => {
                let place = RoutingInfo::SingleNode(route(slot(command)));
                cluster.ask(async |mut connection| connection.route_command(command.clone(), place).await).boxed()
            }
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.0 {
            Kind::Server(server) => server.req_packed_commands(commands, offset, count),
            Kind::Cluster(cluster) => {
                let ask = cluster.ask(async move |mut connection| {
                    if commands.is_transaction() {
                        // What happens at once happens in one slot; the library refuses it otherwise.
                        connection.req_packed_commands(commands, offset, count).await
                    } else {
                        each_slot(&connection, commands).await
                    }
                });
                ask.boxed()
            }
        }
    }

    fn get_db(&self) -> i64 {
        match &self.0 {
            Kind::Server(server) => server.get_db(),
            Kind::Cluster(cluster) => cluster.open().connection.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_asked_and_answers_nothing_is_given_up() {
        let client = ClusterClient::new(vec!["redis://127.0.0.1:9"]).expect("an address");
        let (cluster, begin) = (Cluster::new(client), Instant::now());
        let asked = |after: Duration| {
            drop(cluster.connection(begin + after));
            cluster.open().unanswered_since
        };
        let second = Duration::from_secs(1);
        assert_eq!(asked(second), Some(begin + second));
        assert_eq!(asked(second * 2), Some(begin + second), "nothing was answered since");
        assert_eq!(
            asked(SILENT + second),
            Some(begin + SILENT + second),
            "a new connection, which is asked for the first time"
        );
        cluster.ask(async |_| Ok(())).await.expect("an answer");
        assert_eq!(cluster.open().unanswered_since, None);
        assert_eq!(asked(SILENT * 9), Some(begin + SILENT * 9), "nobody asked in between");
    }

    #[test]
    fn a_cluster_is_told_by_its_scheme_and_may_name_several_nodes() {
        for (url, expected) in [
            ("redis://one:6379", None),
            ("rediss://user:a%2Cb@one:6379/0", None),
            ("redis+cluster://one:6379", Some(vec!["redis://one:6379"])),
            (
                "rediss+cluster://:a%2Cb@one:6379,two:6380/?protocol=resp3",
                Some(vec!["rediss://:a%2Cb@one:6379/?protocol=resp3", "rediss://:a%2Cb@two:6380/?protocol=resp3"]),
            ),
            ("nonsense", None),
        ] {
            let nodes = nodes(url);
            let told = nodes.as_ref().map(|nodes| nodes.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(told, expected, "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_no_url_is_refused_and_who_is_away_is_not() {
        let second = Duration::from_secs(1);
        let limits = Limits { connect: second, answer: second, tries: 1, pause: second };
        for refused in ["", "nonsense", "http://one", "http+cluster://one"] {
            assert!(RedisClient::open(refused, limits).is_err(), "{refused}");
        }
        for taken in ["redis://127.0.0.1:9", "redis+cluster://127.0.0.1:9,127.0.0.1:10"] {
            assert!(RedisClient::open(taken, limits).is_ok(), "{taken}");
        }
    }

    #[test]
    fn a_command_belongs_where_its_first_key_does() {
        let slot_of = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            slot(&command)
        };
        let key = Some(Slot::for_key("session:a"));
        assert_eq!(slot_of(&["GET", "session:a"]), key);
        assert_eq!(slot_of(&["SET", "session:a", "value", "EX", "5"]), key);
        assert_eq!(slot_of(&["eval", "return 1", "2", "session:a", "other"]), key);
        assert_eq!(slot_of(&["EVALSHA", "e0e1", "2", "session:a", "other"]), key);
        assert_eq!(slot_of(&["PING"]), None);
        assert_eq!(Slot::for_key("a:{tag}:b"), Slot::for_key("tag"), "braces say what counts");
    }
}
