//! The table of the saga: explored, compared with the table of topics and with its page, and shown to notice wrong ones.

mod explored;
mod page;
mod topics;
mod watched;
