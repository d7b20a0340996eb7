//! `POST /v1/admin/stock/receipts`.
