//! Tidegate's production runtime: sockets, disk, timers, executors, HTTP and the command line around the machines of
//! `tidegate-core`. It decides nothing: it turns the world into events and performs the effects that come back.

pub mod cli;
pub mod config;
pub mod demo;
pub mod disk;
pub mod driver;
pub mod embedded;
pub mod exec;
pub mod http;
pub mod init;
pub mod jobfile;
pub mod net;
pub mod record;
pub mod report;
pub mod roles;
