//! What the database refuses by itself, whoever asks: broken relations, illegal steps, books that do not balance.

use order_payment::domain::{OrderStatus, order, payment};
use sqlx::{AssertSqlSafe, PgPool};

use crate::world::{World, a_key, an_order, shopper};

/// The constraint that refused a statement. Several statements in one text are one transaction.
async fn refused_by(pool: &PgPool, statement: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await {
        Ok(_) => "nothing".to_owned(),
        Err(error) => {
            let Some(database) = error.as_database_error() else { panic!("{error}") };
            database.constraint().map_or_else(|| database.message().to_owned(), str::to_owned)
        }
    }
}

#[tokio::test]
async fn the_tables_have_the_columns_of_the_specification() {
    let world = World::in_postgres().await;
    type Column = (String, String, String, Option<i32>, Option<i32>);
    let columns: Vec<Column> = sqlx::query_as(
        "SELECT column_name::text, udt_name::text, is_nullable::text, numeric_precision::int, numeric_scale::int FROM information_schema.columns
         WHERE table_name = 'orders' AND column_name IN ('order_id', 'user_id', 'status', 'total_amount', 'shipping_address') ORDER BY column_name",
    )
    .fetch_all(&world.database.as_ref().unwrap().owner)
    .await
    .unwrap();
    let expected = [
        ("order_id", "uuid", None, None),
        ("shipping_address", "jsonb", None, None),
        ("status", "order_status", None, None),
        ("total_amount", "numeric", Some(10), Some(2)),
        ("user_id", "uuid", None, None),
    ];
    let found: Vec<_> = columns
        .iter()
        .map(|(name, kind, nullable, precision, scale)| {
            assert_eq!(nullable, "NO", "{name}");
            (name.as_str(), kind.as_str(), *precision, *scale)
        })
        .collect();
    assert_eq!(found, expected);
    let labels: Vec<String> = sqlx::query_scalar("SELECT unnest(enum_range(NULL::order_status))::text")
        .fetch_all(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap();
    assert_eq!(labels, OrderStatus::ALL.map(OrderStatus::code));
}

#[tokio::test]
async fn code_and_database_know_the_same_transitions() {
    let world = World::in_postgres().await;
    let pool = &world.database.as_ref().unwrap().owner;
    for from in OrderStatus::ALL {
        for to in OrderStatus::ALL {
            let legal: bool =
                sqlx::query_scalar("SELECT order_may_become($1::text::order_status, $2::text::order_status)")
                    .bind(from.code())
                    .bind(to.code())
                    .fetch_one(pool)
                    .await
                    .unwrap();
            assert_eq!(legal, order::TRANSITIONS.contains(&(from, to)), "{from} → {to}");
        }
    }
    for from in payment::AttemptState::ALL {
        for to in payment::AttemptState::ALL {
            let legal: bool =
                sqlx::query_scalar("SELECT attempt_may_become($1::text::attempt_state, $2::text::attempt_state)")
                    .bind(from.code())
                    .bind(to.code())
                    .fetch_one(pool)
                    .await
                    .unwrap();
            assert_eq!(legal, payment::TRANSITIONS.contains(&(from, to)), "{from} → {to}");
        }
    }
}

#[tokio::test]
async fn each_broken_relation_is_refused_by_name() {
    let world = World::in_postgres().await;
    let id = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
    let pool = &world.database.as_ref().unwrap().owner;
    let nobody = uuid::Uuid::nil();
    let order = "INSERT INTO orders (order_id, user_id, residency_region, status, total_amount, currency, total_minor, shipping_address, payment_token, fingerprint, version, created_at, deadline_at)
                 SELECT gen_random_uuid(), user_id, residency_region, 'CREATED', total_amount, currency, total_minor, shipping_address, payment_token, fingerprint, 1, now(), now() FROM orders";
    let table = [
        // A user has many orders: an order has a user.
        (
            order
                .replace(" user_id, residency_region, 'CREATED'", &format!(" '{nobody}', residency_region, 'CREATED'")),
            "orders_user_is_known",
        ),
        (order.replace("residency_region, 'CREATED'", "'us', 'CREATED'"), "orders_stays_home"),
        (order.replace("'CREATED', total_amount", "'CREATED', total_amount + 1"), "orders_total_agrees"),
        (
            order.replace("'CREATED', total_amount, currency", "'CREATED', total_amount, 'XXX'"),
            "orders_currency_is_known",
        ),
        (order.replace("'CREATED', total_amount", "'COMPLETED', total_amount"), "orders_begin_created"),
        (
            order.replace("payment_token, fingerprint, 1", "'4242424242424242', fingerprint, 1"),
            "orders_token_is_no_card",
        ),
        // An order without lines that add up.
        (order.to_owned(), "orders_lines_add_up"),
        // Orders and products are many-to-many, each pair once.
        (format!("INSERT INTO order_lines VALUES ('{nobody}', 0, 'A', 'A', 1, 1)"), "order_lines_of_an_order"),
        (format!("INSERT INTO order_lines VALUES ('{id}', 1, 'LAMP-1', 'A', 1, 1)"), "order_lines_name_a_product_once"),
        (format!("INSERT INTO order_lines VALUES ('{id}', 1, 'B', 'A', 0, 1)"), "order_lines_quantity_is_sane"),
        (format!("INSERT INTO order_lines VALUES ('{id}', 1, '../B', 'A', 1, 1)"), "order_lines_sku_has_its_shape"),
        // History and payments belong to an order.
        (
            format!("INSERT INTO order_history VALUES ('{nobody}', 1, 'CREATED', NULL, now())"),
            "order_history_of_an_order",
        ),
        (
            format!("INSERT INTO ledger_transactions VALUES ('{nobody}', '{id}', 'CAPTURE', 'EUR', now())"),
            "ledger_transactions_of_an_attempt",
        ),
        (
            format!("INSERT INTO order_shipments VALUES ('{id}', gen_random_uuid(), 'x', now())"),
            "order_shipments_are_paid",
        ),
        (format!("UPDATE order_history SET at = now() WHERE order_id = '{id}'"), "order_history_append_only"),
        (format!("DELETE FROM order_lines WHERE order_id = '{id}'"), "order_lines_append_only"),
        (format!("UPDATE orders SET total_amount = 1, total_minor = 100 WHERE order_id = '{id}'"), "orders_are_frozen"),
        (format!("UPDATE orders SET status = 'COMPLETED', version = 2 WHERE order_id = '{id}'"), "orders_transition"),
        (
            format!("UPDATE orders SET status = 'PAYMENT_PENDING', version = 3 WHERE order_id = '{id}'"),
            "orders_version_grows",
        ),
        (
            format!("UPDATE orders SET status = 'PAYMENT_PENDING', version = 2 WHERE order_id = '{id}'"),
            "orders_have_history",
        ),
        (
            format!("UPDATE orders SET status = 'COMPENSATED', version = 2 WHERE order_id = '{id}'"),
            "orders_reason_explains_compensation",
        ),
    ];
    for (statement, constraint) in table {
        assert_eq!(refused_by(pool, &statement).await, constraint, "{statement}");
    }
}

#[tokio::test]
async fn tax_that_does_not_add_up_is_refused_and_an_order_without_any_is_not() {
    let world = World::in_postgres().await;
    let placed = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
    let pool = &world.database.as_ref().unwrap().owner;
    // An order of one line, like the one placed: 49.90 of which 7.97 is tax.
    let order = |tax: &str, line: &str| {
        let id = uuid::Uuid::from_u128(7);
        format!(
            "INSERT INTO orders (order_id, user_id, residency_region, status, total_amount, currency, total_minor, shipping_address, payment_token, fingerprint, version, created_at, deadline_at, tax_place, net_minor, tax_minor)
             SELECT '{id}', user_id, residency_region, 'CREATED', total_amount, currency, total_minor, shipping_address, payment_token, fingerprint, 1, now(), now(), {tax} FROM orders WHERE order_id = '{placed}';
             INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor, tax_class, tax_rate, tax_included, net_minor, tax_minor, gross_minor)
             VALUES ('{id}', 0, 'LAMP-1', 'A', 1, 4990, {line});
             INSERT INTO order_history VALUES ('{id}', 1, 'CREATED', NULL, now());
             SET CONSTRAINTS ALL IMMEDIATE;
             DO $$ BEGIN RAISE EXCEPTION 'accepted'; END $$",
        )
    };
    let (whole, line) = ("'DE', 4193, 797", "'standard', 190000, TRUE, 4193, 797, 4990");
    let nothing = "NULL, NULL, NULL";
    let table = [
        (order(whole, line), "accepted"),
        // As the version before this one writes it.
        (order(nothing, &format!("{nothing}, {nothing}")), "accepted"),
        (order("'DE', 4193, 798", line), "orders_parts_add_up"),
        (order("'DE', 4992, -2", line), "orders_parts_are_not_negative"),
        (order("'DE', 4990, NULL", line), "orders_tax_is_whole"),
        (order("'DE', 4190, 800", line), "orders_tax_adds_up"),
        (order(whole, &format!("{nothing}, {nothing}")), "orders_tax_adds_up"),
        (order(nothing, line), "orders_tax_adds_up"),
        (order(whole, "'standard', 190000, TRUE, 4193, 796, 4990"), "order_lines_parts_add_up"),
        (order(whole, "'standard', 190000, TRUE, 4193, 798, 4991"), "order_lines_keep_the_listed_price"),
        (order(whole, "'standard', 190000, FALSE, 4193, 797, 4990"), "order_lines_keep_the_listed_price"),
        (order(whole, "'luxury', 190000, TRUE, 4193, 797, 4990"), "order_lines_class_is_known"),
        (order(whole, "'standard', 1000001, TRUE, 4193, 797, 4990"), "order_lines_rate_is_a_share"),
        (order(whole, "'standard', NULL, TRUE, 4193, 797, 4990"), "order_lines_tax_is_whole"),
        (format!("UPDATE orders SET tax_minor = tax_minor WHERE order_id = '{placed}'"), "orders_append_only"),
    ];
    for (statement, constraint) in table {
        assert_eq!(refused_by(pool, &statement).await, constraint, "{statement}");
    }
}

#[tokio::test]
async fn an_order_has_at_most_one_living_payment_of_at_most_its_total() {
    let world = World::in_postgres().await;
    let id = world.an_order_to_pay().await;
    let pool = &world.database.as_ref().unwrap().owner;
    let another = |amount: &str, kind: &str| {
        format!("INSERT INTO payment_attempts (attempt_id, order_id, residency_region, number, kind, state, amount_minor, currency, payment_token, due_at, version, created_at)
                 SELECT gen_random_uuid(), order_id, residency_region, 2, '{kind}', 'PREPARED', {amount}, currency, payment_token, now(), 1, now() FROM orders WHERE order_id = '{id}'")
    };
    assert_eq!(refused_by(pool, &another("total_minor", "CHARGE")).await, "payment_attempts_one_charge");
    assert_eq!(refused_by(pool, &another("total_minor + 1", "REFUND")).await, "payment_attempts_amount_fits");
    let change = |set: &str| format!("UPDATE payment_attempts SET {set} WHERE order_id = '{id}'");
    assert_eq!(
        refused_by(pool, &change("state = 'CAPTURED', intent_id = 'pi_1'")).await,
        "payment_attempts_transition"
    );
    assert_eq!(refused_by(pool, &change("state = 'SENT'")).await, "payment_attempts_intent_is_known");
    assert_eq!(refused_by(pool, &change("amount_minor = 1")).await, "payment_attempts_are_frozen");
}

#[tokio::test]
async fn books_that_do_not_balance_are_refused_and_kept_books_never_change() {
    let world = World::in_postgres().await;
    let (paid, open) = (world.an_order_to_pay().await, world.an_order_to_pay().await);
    // Only one of the two is carried to its end.
    let other = world.charge(open).await;
    let database = world.database.as_ref().unwrap();
    sqlx::query("UPDATE payment_attempts SET due_at = 'infinity' WHERE order_id = $1")
        .bind(open.uuid())
        .execute(&database.owner)
        .await
        .unwrap();
    world.pay().await;
    assert_eq!(world.ledger(paid).await, 4990);
    let write = |entries: &str| {
        format!(
            "INSERT INTO ledger_transactions VALUES ('{0}', '{open}', 'CAPTURE', 'EUR', now());
                 INSERT INTO ledger_entries VALUES {entries}",
            other.id
        )
        .replace("ID", &other.id.to_string())
    };
    let table = [
        (write("('ID', 1, 'gateway_receivable', 4990, 'EUR'), ('ID', 2, 'sales', -4989, 'EUR')"), "ledger_balances"),
        (write("('ID', 1, 'gateway_receivable', 4990, 'EUR')"), "ledger_balances"),
        (
            write("('ID', 1, 'gateway_receivable', 4990, 'USD'), ('ID', 2, 'sales', -4990, 'USD')"),
            "ledger_entries_of_a_transaction",
        ),
        (
            write("('ID', 1, 'gateway_receivable', 0, 'EUR'), ('ID', 2, 'sales', 0, 'EUR')"),
            "ledger_entries_move_something",
        ),
        (write("('ID', 1, 'gateway_receivable', -1, 'EUR'), ('ID', 2, 'sales', 1, 'EUR')"), "ledger_refunds_fit"),
        (write("('ID', 3, 'gateway_receivable', 4990, 'EUR'), ('ID', 4, 'sales', -4989, 'EUR')"), "ledger_balances"),
        // Added to a transaction that was committed and balanced.
        (
            format!(
                "INSERT INTO ledger_entries (attempt_id, entry_no, account, amount_minor, currency) SELECT attempt_id, 3, 'sales', 1, 'EUR' FROM ledger_transactions WHERE order_id = '{paid}'"
            ),
            "ledger_balances",
        ),
        ("UPDATE ledger_entries SET amount_minor = amount_minor * 2".to_owned(), "ledger_entries_append_only"),
        ("DELETE FROM ledger_entries".to_owned(), "ledger_entries_append_only"),
        ("UPDATE ledger_transactions SET kind = 'REFUND'".to_owned(), "ledger_transactions_append_only"),
        ("TRUNCATE ledger_entries".to_owned(), "ledger_entries_append_only"),
    ];
    for (statement, constraint) in table {
        assert_eq!(refused_by(&database.owner, &statement).await, constraint, "{statement}");
    }
    // A completed order is a paid one.
    let complete = format!(
        "UPDATE orders SET status = 'COMPLETED', version = 3 WHERE order_id = '{open}';
                            INSERT INTO order_history VALUES ('{open}', 3, 'COMPLETED', NULL, now())"
    );
    assert_eq!(refused_by(&database.owner, &complete).await, "orders_completed_are_paid");
}

#[tokio::test]
async fn the_service_itself_may_only_do_what_it_needs() {
    let world = World::in_postgres().await;
    world.an_order_to_pay().await;
    let app = world.database.as_ref().unwrap().database.pool();
    for statement in [
        "UPDATE ledger_entries SET amount_minor = 1",
        "DELETE FROM ledger_transactions",
        "TRUNCATE ledger_entries",
        "DELETE FROM orders",
        "UPDATE orders SET user_id = user_id",
        "UPDATE order_lines SET quantity = 1",
        "DELETE FROM payment_attempts",
        "UPDATE payment_attempts SET amount_minor = 1",
        "UPDATE webhooks SET body = ''",
        "DELETE FROM webhooks",
        "INSERT INTO orders_to_ship VALUES (gen_random_uuid(), now())",
        "DELETE FROM orders_to_ship",
        "UPDATE region_fence SET epoch = 9",
        "DROP TABLE orders",
        "ALTER TABLE orders DISABLE TRIGGER ALL",
    ] {
        let message = refused_by(app, statement).await;
        assert!(message.contains("permission denied") || message.contains("must be owner"), "{statement}: {message}");
    }
}

#[tokio::test]
async fn nobody_can_have_webhooks_of_the_last_thirty_days_forgotten() {
    let world = World::in_postgres().await;
    let app = world.database.as_ref().unwrap().database.pool();
    let forget = |before: &str| format!("SELECT forget_webhooks({before}, 1)");
    for before in ["now()", "now() - INTERVAL '29 days'", "'infinity'", "NULL"] {
        assert_eq!(refused_by(app, &forget(before)).await, "webhooks_are_kept_for_thirty_days", "{before}");
    }
    assert_eq!(refused_by(app, &forget("now() - INTERVAL '30 days'")).await, "nothing");
}

#[tokio::test]
async fn every_table_that_names_a_person_has_the_regions_own_check() {
    let world = World::in_postgres().await;
    let tables: Vec<(String, bool)> = sqlx::query_as(
        "SELECT named.table_name::text, EXISTS (
             SELECT FROM pg_constraint WHERE conname = named.table_name || '_stays_home' AND conrelid = named.table_name::regclass)
         FROM information_schema.columns named JOIN information_schema.tables USING (table_schema, table_name)
         WHERE named.table_schema = 'public' AND named.column_name = 'user_id' AND table_type = 'BASE TABLE' ORDER BY 1",
    )
    .fetch_all(&world.database.as_ref().unwrap().owner)
    .await
    .unwrap();
    assert!(tables.len() >= 4, "{tables:?}");
    let elsewhere: Vec<&String> = tables.iter().filter(|(_, at_home)| !at_home).map(|(table, _)| table).collect();
    assert!(elsewhere.is_empty(), "rows of these could belong to another region: {elsewhere:?}");
}
