//! The program against a small fake region: what it asks for, what it prints, how it ends.

mod commands;
mod region;
