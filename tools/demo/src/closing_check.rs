//! The closing check: shop, stock and gateway tell the same story, to the cent and to the unit.
//!
//! It reads the databases with their owners' roles, in read-only sessions: an operator's view across services, which no service
//! has. The gateway is read from its own books. Either of one run's orders, or of everything the region has done so far.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use crate::gateway_books::GatewayBooks;
use crate::goods::{Goods, ended, served};
use crate::stack::Stack;

/// Longest wait until every order has come to its end and what was held is sold or released.
pub const PATIENCE: Duration = Duration::from_secs(180);

const PAUSE: Duration = Duration::from_millis(500);

/// The two databases.
pub struct Databases {
    orders: PgPool,
    inventory: PgPool,
}

/// Stock summed over products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StockSums {
    pub received: i64,
    pub available: i64,
    pub held: i64,
    pub sold: i64,
    pub returned: i64,
    /// Promised before they came in.
    pub back_ordered: i64,
}

impl StockSums {
    pub fn holds(self) -> bool {
        self.available + self.held + self.sold - self.returned == self.received + self.back_ordered
    }
}

/// Money of one currency in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneySums {
    /// Completed orders, less what was given back for them.
    pub orders: i64,
    pub ledger: i64,
    pub gateway: i64,
}

impl MoneySums {
    /// The larger of the two differences.
    pub fn difference(self) -> i64 {
        (self.ledger - self.gateway).abs().max((self.ledger - self.orders).abs())
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Status and reason to number of orders.
    pub by_state: BTreeMap<String, i64>,
    pub open_orders: i64,
    pub money: BTreeMap<String, MoneySums>,
    /// Sum of all entries of the ledger, which must be zero.
    pub ledger_balance: i64,
    pub charged_twice: Vec<String>,
    pub unsettled_payments: i64,
    pub open_holds: i64,
    pub parked: i64,
    pub stock: StockSums,
    /// Products whose sold units are not those of the completed orders.
    pub stock_disagrees: Vec<String>,
}

impl Findings {
    pub fn is_good(&self) -> bool {
        self.open_orders == 0
            && self.money.values().all(|sums| sums.difference() == 0)
            && self.ledger_balance == 0
            && self.charged_twice.is_empty()
            && self.unsettled_payments == 0
            && self.open_holds == 0
            && self.parked == 0
            && self.stock.holds()
            && self.stock_disagrees.is_empty()
    }

    pub fn print(&self) {
        let total: i64 = self.by_state.values().sum();
        let states: Vec<String> = self.by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
        println!("orders     {total}: {}", if states.is_empty() { "none".to_owned() } else { states.join(", ") });
        for (currency, sums) in &self.money {
            println!("completed  {:>16} {currency}", units(sums.orders));
            println!(
                "ledger     {:>16} {currency}   (all entries together {})",
                units(sums.ledger),
                units(self.ledger_balance)
            );
            println!("gateway    {:>16} {currency}", units(sums.gateway));
            println!("difference {} {currency}", units(sums.difference()));
        }
        if self.money.is_empty() {
            println!("difference 0.00 (no money has moved)");
        }
        println!("double charges {}", self.charged_twice.len());
        let StockSums { received, available, held, sold, returned, back_ordered } = self.stock;
        let verdict = if self.stock.holds() { "adds up" } else { "DOES NOT ADD UP" };
        println!(
            "stock      available {available} + held {held} + sold {sold} - returned {returned} = received {received} + back-ordered {back_ordered}: {verdict}"
        );
        let problems = [
            (self.open_orders, "orders have not come to their end"),
            (self.unsettled_payments, "payments are not settled"),
            (self.open_holds, "orders still hold stock"),
            (self.parked, "messages are parked"),
            (self.charged_twice.len() as i64, "orders were charged twice"),
            (self.stock_disagrees.len() as i64, "products were sold in another number than their orders say"),
        ];
        for (count, what) in problems.into_iter().filter(|(count, _)| *count > 0) {
            println!("PROBLEM    {count} {what}");
        }
        for sku in self.stock_disagrees.iter().take(5) {
            println!("           {sku}");
        }
    }
}

/// Minor units as text. All currencies of the demo regions have two digits.
pub fn units(minor: i64) -> String {
    format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.abs() / 100, minor.abs() % 100)
}

/// The check over the whole region, with its verdict.
///
/// # Errors
/// A database or the gateway does not answer.
pub async fn check_region(stack: &Stack) -> anyhow::Result<bool> {
    let databases = Databases::open(stack).await?;
    let findings = databases.settled(stack, None).await?;
    findings.print();
    println!("{}", if findings.is_good() { "the books agree" } else { "THE BOOKS DO NOT AGREE" });
    Ok(findings.is_good())
}

/// Events that were committed and are not sent yet, over all services that have a database. In the end there must be none.
///
/// # Errors
/// A database does not answer.
pub async fn unsent(stack: &Stack) -> anyhow::Result<i64> {
    let mut unsent = 0;
    for database in ["user_profile", "inventory", "order_payment"] {
        let pool = open(stack, database).await?;
        let waiting = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
        unsent += sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await?;
        pool.close().await;
    }
    Ok(unsent)
}

impl Databases {
    /// # Errors
    /// A database does not answer.
    pub async fn open(stack: &Stack) -> anyhow::Result<Self> {
        Ok(Self { orders: open(stack, "order_payment").await?, inventory: open(stack, "inventory").await? })
    }

    /// Looks until nothing is under way any more, at most [`PATIENCE`], and tells what it saw last.
    ///
    /// # Errors
    /// A database or the gateway does not answer.
    pub async fn settled(&self, stack: &Stack, orders: Option<&[Uuid]>) -> anyhow::Result<Findings> {
        self.settled_within(stack, orders, PATIENCE).await
    }

    /// As [`Databases::settled`], with another patience.
    ///
    /// # Errors
    /// As [`Databases::settled`].
    pub async fn settled_within(
        &self,
        stack: &Stack,
        orders: Option<&[Uuid]>,
        patience: Duration,
    ) -> anyhow::Result<Findings> {
        let until = Instant::now() + patience;
        loop {
            let findings = self.look(stack, orders).await;
            let late = Instant::now() >= until;
            match findings {
                Ok(findings) if findings.is_good() || late => return Ok(findings),
                Err(error) if late => return Err(error),
                // Not settled yet, or a server that was killed is coming back.
                Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn look(&self, stack: &Stack, orders: Option<&[Uuid]>) -> anyhow::Result<Findings> {
        let mut findings = Findings { ..Findings::default() };
        self.states(orders, &mut findings).await?;
        self.shop_money(orders, &mut findings).await?;
        let books = GatewayBooks::read(stack.gateway_url()).await?;
        let set: Option<HashSet<Uuid>> = orders.map(|orders| orders.iter().copied().collect());
        for (currency, amount) in books.net(set.as_ref()) {
            findings.money.entry(currency).or_default().gateway = amount;
        }
        findings.charged_twice = books.charged_twice(set.as_ref());
        self.stock(orders, &mut findings).await?;
        Ok(findings)
    }

    async fn states(&self, orders: Option<&[Uuid]>, findings: &mut Findings) -> anyhow::Result<()> {
        let rows = sqlx::query(
            "SELECT status::text AS status, reason, count(*) AS orders FROM orders
             WHERE $1::uuid[] IS NULL OR order_id = ANY($1) GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .bind(orders)
        .fetch_all(&self.orders)
        .await?;
        for row in rows {
            let (status, reason, count): (String, Option<String>, i64) =
                (row.try_get("status")?, row.try_get("reason")?, row.try_get("orders")?);
            if !matches!(status.as_str(), "COMPLETED" | "COMPENSATED") {
                findings.open_orders += count;
            }
            let state = reason.map_or(status.clone(), |reason| format!("{status} ({reason})"));
            findings.by_state.insert(state, count);
        }
        findings.unsettled_payments = sqlx::query_scalar(
            "SELECT count(*) FROM payment_attempts
             WHERE state NOT IN ('CAPTURED', 'DECLINED', 'VOIDED') AND ($1::uuid[] IS NULL OR order_id = ANY($1))",
        )
        .bind(orders)
        .fetch_one(&self.orders)
        .await?;
        let parked = "SELECT count(*) FROM parked_messages WHERE redriven_at IS NULL";
        for database in [&self.orders, &self.inventory] {
            findings.parked += sqlx::query_scalar::<_, i64>(parked).fetch_one(database).await?;
        }
        Ok(())
    }

    async fn shop_money(&self, orders: Option<&[Uuid]>, findings: &mut Findings) -> anyhow::Result<()> {
        let completed = sqlx::query(
            "SELECT currency, sum(total_minor)::bigint AS total FROM orders
             WHERE status = 'COMPLETED' AND ($1::uuid[] IS NULL OR order_id = ANY($1)) GROUP BY 1",
        );
        for row in completed.bind(orders).fetch_all(&self.orders).await? {
            findings.money.entry(row.try_get("currency")?).or_default().orders += row.try_get::<i64, _>("total")?;
        }
        let ledger = sqlx::query(
            "SELECT entry.currency, sum(entry.amount_minor)::bigint AS total,
                    coalesce(sum(entry.amount_minor) FILTER (WHERE moved.kind = 'REFUND' AND placed.status = 'COMPLETED'), 0)::bigint AS refunded
             FROM ledger_entries entry JOIN ledger_transactions moved USING (attempt_id) JOIN orders placed USING (order_id)
             WHERE entry.account = 'gateway_receivable' AND ($1::uuid[] IS NULL OR moved.order_id = ANY($1)) GROUP BY 1",
        );
        for row in ledger.bind(orders).fetch_all(&self.orders).await? {
            let sums = findings.money.entry(row.try_get("currency")?).or_default();
            sums.ledger += row.try_get::<i64, _>("total")?;
            // Refunds are negative in this account.
            sums.orders += row.try_get::<i64, _>("refunded")?;
        }
        let balance = "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries";
        findings.ledger_balance = sqlx::query_scalar(balance).fetch_one(&self.orders).await?;
        Ok(())
    }

    /// Stock is checked over the whole region always: a unit belongs to no run.
    async fn stock(&self, orders: Option<&[Uuid]>, findings: &mut Findings) -> anyhow::Result<()> {
        findings.stock = self.stock_sums(None).await?;
        findings.open_holds = sqlx::query_scalar(
            "SELECT count(*) FROM reservations WHERE status = 'HELD' AND ($1::uuid[] IS NULL OR order_id = ANY($1))",
        )
        .bind(orders)
        .fetch_one(&self.inventory)
        .await?;
        // While somebody's order is under way its units are sold in one database and not yet in the other.
        if findings.open_orders > 0 || findings.open_holds > 0 {
            return Ok(());
        }
        let ordered = per_sku(
            &self.orders,
            "SELECT line.sku, sum(line.quantity)::bigint AS units FROM order_lines line JOIN orders USING (order_id)
             WHERE status = 'COMPLETED' GROUP BY 1",
        )
        .await?;
        let sold =
            per_sku(&self.inventory, "SELECT sku, sum(sold)::bigint AS units FROM stock WHERE sold > 0 GROUP BY 1")
                .await?;
        let skus: HashSet<&String> = ordered.keys().chain(sold.keys()).collect();
        let mut disagrees: Vec<String> = skus
            .into_iter()
            .filter(|sku| ordered.get(*sku) != sold.get(*sku))
            .map(|sku| {
                format!("{sku}: ordered {}, sold {}", ordered.get(sku).unwrap_or(&0), sold.get(sku).unwrap_or(&0))
            })
            .collect();
        disagrees.sort();
        findings.stock_disagrees = disagrees;
        Ok(())
    }

    /// Stock over these products, or over all.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn stock_sums(&self, skus: Option<&[String]>) -> anyhow::Result<StockSums> {
        let row = sqlx::query(
            "SELECT coalesce(sum(received), 0)::bigint AS received, coalesce(sum(available), 0)::bigint AS available,
                    coalesce(sum(held), 0)::bigint AS held, coalesce(sum(sold), 0)::bigint AS sold,
                    coalesce(sum(returned), 0)::bigint AS returned, coalesce(sum(back_ordered), 0)::bigint AS back_ordered
             FROM stock WHERE $1::text[] IS NULL OR sku = ANY($1)",
        )
        .bind(skus)
        .fetch_one(&self.inventory)
        .await?;
        let number = |name: &str| row.try_get::<i64, _>(name);
        Ok(StockSums {
            received: number("received")?,
            available: number("available")?,
            held: number("held")?,
            sold: number("sold")?,
            returned: number("returned")?,
            back_ordered: number("back_ordered")?,
        })
    }

    /// Units on the shelf and how they are supplied, for these products.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn shelves(&self, skus: &[String]) -> anyhow::Result<BTreeMap<String, (String, i64)>> {
        let rows = sqlx::query(
            "SELECT sku, kind, sum(available)::bigint AS available FROM stock WHERE sku = ANY($1) GROUP BY 1, 2",
        )
        .bind(skus)
        .fetch_all(&self.inventory)
        .await?;
        rows.into_iter()
            .map(|row| Ok((row.try_get("sku")?, (row.try_get("kind")?, row.try_get("available")?))))
            .collect()
    }

    /// How many of these orders are not in the books at all.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn missing(&self, orders: &[Uuid]) -> anyhow::Result<i64> {
        let missing = "SELECT count(*) FROM unnest($1::uuid[]) AS told (order_id)
                       WHERE NOT EXISTS (SELECT FROM orders WHERE orders.order_id = told.order_id)";
        Ok(sqlx::query_scalar(missing).bind(orders).fetch_one(&self.orders).await?)
    }

    /// How each of these orders stands: its status, and the reason where there is one.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn ends(&self, orders: &[Uuid]) -> anyhow::Result<BTreeMap<Uuid, String>> {
        let ends =
            "SELECT order_id, concat_ws(' ', status::text, reason) AS stands FROM orders WHERE order_id = ANY($1)";
        let rows = sqlx::query(ends).bind(orders).fetch_all(&self.orders).await?;
        rows.into_iter().map(|row| Ok((row.try_get("order_id")?, row.try_get("stands")?))).collect()
    }

    /// What became of the goods of these orders.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn goods(&self, orders: &[Uuid]) -> anyhow::Result<Goods> {
        let (ended, served) = tokio::try_join!(ended(&self.orders, orders), served(&self.inventory, orders))?;
        Ok(Goods::judge(&ended, &served))
    }

    /// Of these payments of the gateway, those that the shop found to have no order, each with the state of its refund.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn orphans(&self, intents: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
        let found = "SELECT intent_id, state::text AS state FROM orphan_charges WHERE intent_id = ANY($1)";
        let rows = sqlx::query(found).bind(intents).fetch_all(&self.orders).await?;
        rows.into_iter().map(|row| Ok((row.try_get("intent_id")?, row.try_get("state")?))).collect()
    }

    /// Milliseconds from acceptance to the end of each order that has ended.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn durations_ms(&self, orders: &[Uuid]) -> anyhow::Result<Vec<f64>> {
        let durations: Vec<f64> = sqlx::query_scalar(
            "SELECT (extract(epoch FROM max(changed.at) - min(changed.at)) * 1000)::float8
             FROM order_history changed JOIN orders USING (order_id)
             WHERE order_id = ANY($1) AND orders.status IN ('COMPLETED', 'COMPENSATED') GROUP BY order_id",
        )
        .bind(orders)
        .fetch_all(&self.orders)
        .await?;
        Ok(durations)
    }
}

async fn per_sku(database: &PgPool, query: &'static str) -> anyhow::Result<BTreeMap<String, i64>> {
    let rows = sqlx::query(query).fetch_all(database).await?;
    rows.into_iter().map(|row| Ok((row.try_get("sku")?, row.try_get("units")?))).collect()
}

async fn open(stack: &Stack, database: &str) -> anyhow::Result<PgPool> {
    // Nothing here may ever write, whatever the role could.
    let options =
        PgConnectOptions::from_str(&stack.database_url(database))?.options([("default_transaction_read_only", "on")]);
    let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(10)).connect_with(options);
    pool.await.with_context(|| format!("the database {database} does not answer; is the stack up?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cent_or_one_unit_is_enough_to_fail() {
        let good = Findings {
            money: BTreeMap::from([("EUR".to_owned(), MoneySums { orders: 500, ledger: 500, gateway: 500 })]),
            stock: StockSums { received: 10, available: 8, held: 0, sold: 4, returned: 1, back_ordered: 1 },
            ..Findings::default()
        };
        assert!(good.is_good());
        let with = |change: fn(&mut Findings)| {
            let mut findings = good.clone();
            change(&mut findings);
            findings
        };
        for bad in [
            with(|found| {
                let _ = found.money.insert("EUR".to_owned(), MoneySums { orders: 500, ledger: 500, gateway: 501 });
            }),
            with(|found| {
                let _ = found.money.insert("EUR".to_owned(), MoneySums { orders: 499, ledger: 500, gateway: 500 });
            }),
            with(|found| {
                let _ = found.money.insert("USD".to_owned(), MoneySums { orders: 0, ledger: 0, gateway: 1 });
            }),
            with(|found| found.ledger_balance = 1),
            with(|found| found.stock.sold = 5),
            with(|found| found.open_orders = 1),
            with(|found| found.open_holds = 1),
            with(|found| found.unsettled_payments = 1),
            with(|found| found.parked = 1),
            with(|found| found.charged_twice.push("o".to_owned())),
            with(|found| found.stock_disagrees.push("A".to_owned())),
        ] {
            assert!(!bad.is_good(), "{bad:?}");
        }
    }

    #[test]
    fn amounts_are_written_with_two_digits() {
        assert_eq!(["0.00", "0.05", "-12.30"], [units(0), units(5), units(-1230)].each_ref().map(String::as_str));
    }
}
