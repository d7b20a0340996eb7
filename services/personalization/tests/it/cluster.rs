//! A Redis Cluster instead of one server: whatever the stores promise, and that every click is counted once while a master is lost or keys
//! go to another. The cluster is started for each of these stories and ends with it.

use std::time::Duration;

use contracts::places::{Layout, Place};
use personalization::domain::ClickKind::View;
use personalization::domain::{Person, Pseudonym, Report};
use personalization::outbound::redis::RedisStore;
use personalization::usecases::{Earlier, NotFolded};
use redis::aio::MultiplexedConnection;
use testkit::RedisCluster;

use crate::books::{self, TOGETHER, a_hundred_minutes, fold, left, read};
use crate::support::{self, Empty as _, GONE, Shop, products, redis_store, report, somebody};
use crate::{experiments, lists, sessions, store, visits};

/// Longest that nothing at all may be counted: a copy takes over within seconds.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_stores_promise_a_cluster_keeps() {
    let cluster = RedisCluster::start(3, false).await;
    let on_the_cluster = redis_store(&cluster.url());
    store::all_on(&on_the_cluster).await;
    books::all_on(&on_the_cluster).await;
    visits::all_on(&on_the_cluster).await;
    lists::all_on(&on_the_cluster).await;
    sessions::all_on(&on_the_cluster).await;
    experiments::all_on(&on_the_cluster).await;
}

/// Forty people who look at something in turn.
fn a_topic(people: &[Pseudonym]) -> Vec<Report> {
    let names = ["C1", "C2", "D1", "C3", "C4"];
    let views = (0..400_usize).map(|place| (place, names[place % names.len()], &people[place * 7 % people.len()]));
    views
        .map(|(place, name, who)| report(who, i64::try_from(place).expect("a small number"), &[(View, name)]))
        .collect()
}

fn forty() -> Vec<Pseudonym> {
    (0..40).map(|_| somebody()).collect()
}

/// Counts the records from `at` up to `end` as the consumer does: further back where the store says so, and once more what failed.
async fn count(shop: &Shop<RedisStore>, topic: &[Report], mut at: usize, end: usize) {
    let mut since = tokio::time::Instant::now();
    while at < end {
        let before = at;
        match fold(shop, &topic[at..(at + TOGETHER).min(end)], Earlier::Readable).await {
            Ok(_) => at = (at + TOGETHER).min(end),
            Err(NotFolded::Hole { counted }) => {
                at = counted.map_or(0, |counted| usize::try_from(counted.offset + 1).expect("an offset"));
            }
            Err(NotFolded::Overtaken | NotFolded::Store(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        if at > before {
            since = tokio::time::Instant::now();
        }
        assert!(since.elapsed() < LIMIT, "nothing is counted any more, at {at}");
    }
}

/// What one server holds to which nothing happens.
async fn undisturbed(topic: &[Report], people: &[&Pseudonym]) -> books::Left {
    let shop = support::redis();
    shop.learn(&products()).await;
    count(&shop, topic, 0, topic.len()).await;
    left(&shop, people).await
}

/// Which of the masters has what lies in a place.
fn master_of(cluster: &RedisCluster, place: Place) -> usize {
    cluster.master_of(&place.key("any"))
}

/// A part of people that lies on another master than products do.
fn a_part_elsewhere(cluster: &RedisCluster) -> Place {
    let shop = master_of(cluster, Place::Shop);
    let mut homes = Layout::Cluster.homes().into_iter();
    homes.find(|home| master_of(cluster, *home) != shop).expect("parts lie on all masters")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_dies_while_clicks_are_counted_and_each_is_counted_once() {
    let mut cluster = RedisCluster::start(3, true).await;
    let people = forty();
    let topic = a_topic(&people);
    let shop = Shop::on(redis_store(&cluster.url()));
    shop.learn(&products()).await;
    count(&shop, &topic, 0, 200).await;
    let victim = master_of(&cluster, a_part_elsewhere(&cluster));
    cluster.kill(victim);
    // Its copy has not noticed yet, so batches fail in some of their parts and come again, until it takes over.
    count(&shop, &topic, 200, topic.len()).await;
    cluster.taken_over(victim).await;
    let people: Vec<&Pseudonym> = people.iter().collect();
    assert_eq!(left(&shop, &people).await, undisturbed(&topic, &people).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_to_another_master_while_clicks_are_counted_and_each_is_counted_once() {
    let cluster = RedisCluster::start(3, false).await;
    let people = forty();
    let topic = a_topic(&people);
    let shop = Shop::on(redis_store(&cluster.url()));
    shop.learn(&products()).await;
    count(&shop, &topic, 0, 200).await;
    // What the client knows of both is wrong from now on.
    for place in [Place::Shop, a_part_elsewhere(&cluster)] {
        assert!(hand_over(&cluster, &place.key("any")).await > 0, "there is something in {place:?}");
    }
    count(&shop, &topic, 200, topic.len()).await;
    let people: Vec<&Pseudonym> = people.iter().collect();
    assert_eq!(left(&shop, &people).await, undisturbed(&topic, &people).await);
}

/// What a master leaves behind that dies with its copy: one part of people is gone, and everything else is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_lost_is_counted_again_and_the_shop_is_told_nothing_twice() {
    let cluster = RedisCluster::start(3, false).await;
    let shop = Shop::on(redis_store(&cluster.url()));
    let home = |who: &Pseudonym| Layout::Cluster.home(who.as_str());
    let ada = somebody();
    let bob = std::iter::repeat_with(somebody).find(|bob| home(bob) != home(&ada)).expect("there are many parts");
    let topic = a_hundred_minutes(&ada, &bob);
    shop.learn(&products()).await;
    assert_eq!(read(&shop, &topic[..90], 0).await, 0);

    let lost = home(&ada);
    let mut master = node(cluster.masters()[master_of(&cluster, lost)]).await;
    let keys: Vec<String> = ask(&mut master, redis::cmd("KEYS").arg(format!("*{}", lost.key("*")))).await;
    assert!(keys.iter().any(|key| key.contains("clicks-counted")), "the mark goes as well: {keys:?}");
    ask::<()>(&mut master, redis::cmd("DEL").arg(&keys)).await;
    assert_eq!(left(&shop, &[&ada]).await.people, [Person::default()]);

    assert_eq!(read(&shop, &topic, 90).await, 1, "back by an hour");
    let since = 99 - 60;
    // Of Ada the last hour is known, as in a shop that was opened then.
    let hour = Shop::on(shop.store.empty());
    hour.learn(&products()).await;
    for batch in topic[since..].chunks(TOGETHER) {
        fold(&hour, batch, GONE).await.expect("the store answers");
    }
    assert_eq!(left(&shop, &[&ada]).await.people, left(&hour, &[&ada]).await.people);
    // Of Bob, and in the shop, everything, as where nothing was lost. What was new was cut like this.
    let whole = Shop::on(shop.store.empty());
    whole.learn(&products()).await;
    assert_eq!(read(&whole, &topic[..90], 0).await, 0);
    assert_eq!(read(&whole, &topic[..91], 90).await, 0);
    assert_eq!(read(&whole, &topic, 91).await, 0);
    assert_eq!(left(&shop, &[&bob]).await, left(&whole, &[&bob]).await);
}

/// Moves the slot of a key to the next master, as an operator does who adds a server. Says how many keys went along.
async fn hand_over(cluster: &RedisCluster, key: &str) -> usize {
    let ports = cluster.masters();
    let giver = cluster.master_of(key);
    let taker = (giver + 1) % ports.len();
    let mut nodes = Vec::new();
    for port in &ports {
        nodes.push(node(*port).await);
    }
    let slot: u16 = ask(&mut nodes[giver], redis::cmd("CLUSTER").arg("KEYSLOT").arg(key)).await;
    let giver_id: String = ask(&mut nodes[giver], redis::cmd("CLUSTER").arg("MYID")).await;
    let taker_id: String = ask(&mut nodes[taker], redis::cmd("CLUSTER").arg("MYID")).await;
    let step = |word: &str, id: &str| {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(word).arg(id);
        command
    };
    ask::<()>(&mut nodes[taker], &step("IMPORTING", &giver_id)).await;
    ask::<()>(&mut nodes[giver], &step("MIGRATING", &taker_id)).await;
    let keys: Vec<String> =
        ask(&mut nodes[giver], redis::cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(100_000)).await;
    let mut migrate = redis::cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(ports[taker]).arg("").arg(0).arg(5_000).arg("KEYS").arg(&keys);
    ask::<()>(&mut nodes[giver], &migrate).await;
    // The one that takes first, so that the slot has an owner all the time.
    ask::<()>(&mut nodes[taker], &step("NODE", &taker_id)).await;
    for other in (0..ports.len()).filter(|other| *other != taker) {
        ask::<()>(&mut nodes[other], &step("NODE", &taker_id)).await;
    }
    keys.len()
}

async fn node(port: u16) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a well-formed URL");
    client.get_multiplexed_async_connection().await.expect("a server of the cluster")
}

async fn ask<T: redis::FromRedisValue>(node: &mut MultiplexedConnection, command: &redis::Cmd) -> T {
    command.query_async(node).await.expect("a server of the cluster does as it is told")
}
